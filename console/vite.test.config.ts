// Bundles the tests for Node, which runs no TypeScript by itself at the oldest version that we support.

import { defineConfig } from "vite";
import { CLIENT } from "./client_source.ts";

const names = ["format", "rates", "room", "snippets"];

export default defineConfig({
  resolve: { alias: CLIENT },
  build: {
    outDir: "build/test",
    emptyOutDir: true,
    ssr: true,
    target: "node20",
    minify: false,
    reportCompressedSize: false,
    rollupOptions: {
      input: Object.fromEntries(names.map((name) => [`${name}.test`, `src/${name}.test.ts`])),
      output: { entryFileNames: "[name].mjs", chunkFileNames: "shared/[name].mjs" },
    },
  },
});
