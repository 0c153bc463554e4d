/** The icons, drawn on a grid of 16 with the colour of the text around them. */

const PATHS = {
  queued: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM8 4.6V8l2.3 1.6",
  waiting: "M4.4 2h7.2M4.4 14h7.2M5.2 2v2.6L8 8l-2.8 3.4V14M10.8 2v2.6L8 8l2.8 3.4V14",
  paused: "M5.4 3v10M10.6 3v10",
  running: "M5 2.9v10.2L13 8 5 2.9Z",
  succeeded: "M2.8 8.4l3.4 3.5 7-7.6",
  failed: "M8 1.8 14.6 13.6H1.4L8 1.8ZM8 6.2v3.4M8 11.4v.4",
  cancelled: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8ZM3.7 3.7l8.6 8.6",
  skipped: "M3 3.2 8.4 8 3 12.8V3.2ZM12.4 3v10",
  lost: "M1.6 6.2a9.4 9.4 0 0 1 12.8 0M4 8.9a5.8 5.8 0 0 1 8 0M6.4 11.4a2.4 2.4 0 0 1 3.2 0M2.4 13.8 13.4 2.4",
  released: "M9.6 12.8 4.8 8l4.8-4.8M4.8 8h8.6",
  download: "M8 2v8M4.7 7.2 8 10.5l3.3-3.3M2.6 13.4h10.8",
  copy: "M5.6 5.6h7.8v7.8H5.6zM10.2 5.4V2.6H2.6v7.6h2.8",
  plus: "M8 3v10M3 8h10",
  search: "M7 2.6a4.4 4.4 0 1 0 0 8.8 4.4 4.4 0 0 0 0-8.8ZM10.3 10.3l3.3 3.3",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6ZM8 1.2v1.4M8 13.4v1.4M1.2 8h1.4M13.4 8h1.4M3.2 3.2l1 1M11.8 11.8l1 1M12.8 3.2l-1 1M4.2 11.8l-1 1",
  moon: "M13.4 9.6A5.8 5.8 0 0 1 6.4 2.6a5.8 5.8 0 1 0 7 7Z",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  ascending: "M8 13V3M4.4 6.6 8 3l3.6 3.6",
  descending: "M8 3v10M4.4 9.4 8 13l3.6-3.6",
  unsorted: "M5 6.2 8 3.2l3 3M5 9.8l3 3 3-3",
  back: "M9.8 3 4.8 8l5 5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, filled = false }: { name: IconName; filled?: boolean }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path
        d={PATHS[name]}
        fill={filled ? "currentColor" : "none"}
        stroke="currentColor"
        stroke-width="1.6"
        stroke-linecap="round"
        stroke-linejoin="round"
      />
    </svg>
  );
}
