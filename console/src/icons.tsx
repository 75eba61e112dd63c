// The page's few drawings, inline, in the colour of the text around them.

const common = { width: 16, height: 16, viewBox: "0 0 16 16", fill: "none", stroke: "currentColor", "aria-hidden": true } as const;

export const Mark = () => (
  <svg {...common} width={20} height={20} viewBox="0 0 32 32" class="mark">
    <rect width="32" height="32" rx="7" fill="currentColor" stroke="none" />
    <path d="M9 11.5v3.2c0 6.6 14 .6 14 7.2" stroke="var(--surface)" stroke-width="2.6" stroke-linecap="round" />
    <circle cx="9" cy="9.5" r="3.3" stroke="var(--surface)" stroke-width="2.4" />
    <circle cx="23" cy="22.5" r="3.3" fill="var(--surface)" stroke="none" />
  </svg>
);

export const Sun = () => (
  <svg {...common} stroke-width="1.5" stroke-linecap="round">
    <circle cx="8" cy="8" r="3" />
    <path d="M8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M3.2 12.8l1-1M11.8 4.2l1-1" />
  </svg>
);

export const Moon = () => (
  <svg {...common} stroke-width="1.5" stroke-linejoin="round">
    <path d="M13.6 9.7A6 6 0 0 1 6.3 2.4a6 6 0 1 0 7.3 7.3Z" />
  </svg>
);

export const Copy = () => (
  <svg {...common} width={14} height={14} stroke-width="1.4" stroke-linejoin="round">
    <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
    <path d="M10.5 3.5v-.5a1 1 0 0 0-1-1H3.5a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1H4" />
  </svg>
);

export const Check = () => (
  <svg {...common} width={14} height={14} stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">
    <path d="m3 8.5 3.2 3.2L13 4.8" />
  </svg>
);
