// Builds the page into the crate that embeds it. The names are fixed and nothing of the machine enters the files, so that a build
// elsewhere gives the same bytes; the server's ETag tells browsers what changed.

import { defineConfig } from "vite";
import { CLIENT } from "./client_source.ts";

export default defineConfig({
  base: "./",
  resolve: { alias: CLIENT },
  build: {
    outDir: "../crates/server/assets/console",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    modulePreload: false,
    // The content security policy knows no `data:` addresses.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        entryFileNames: "console.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
