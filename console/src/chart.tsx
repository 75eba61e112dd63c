// Messages a second over the last two minutes, drawn by uPlot. Decoration to a screen reader: the tiles say the same in numbers.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { clock, count } from "./format";
import type { Theme } from "./hooks";
import { SAMPLES_MAX, type Series } from "./rates";

const HEIGHT = 132;

export function Chart({ series, theme, trouble }: { series: Series; theme: Theme; trouble: string | null }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data: uPlot.AlignedData = [series.times, series.messagesIn, series.messagesOut];
  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = new uPlot(options(element), data, element);
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
    // The canvas has its colours from the moment it was made.
  }, [theme]);
  useEffect(() => plot.current?.setData(data), [series]);
  return (
    <figure class="chart">
      <figcaption>
        Messages a second
        <span class="key" data-tone="in">
          in
        </span>
        <span class="key" data-tone="out">
          out
        </span>
        <span class="stretch" />
        <span class="trouble" role="alert">
          {trouble}
        </span>
      </figcaption>
      <div ref={box} class="plot" aria-hidden="true" />
    </figure>
  );
}

function options(element: HTMLElement): uPlot.Options {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `11px ${style.fontFamily}`;
  const line = (name: string): uPlot.Series => ({
    stroke: colour(`--${name}`),
    fill: colour(`--${name}-faint`),
    width: 1.5,
    points: { show: false },
  });
  const axis: uPlot.Axis = {
    stroke: colour("--muted"),
    font,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    padding: [8, 4, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: {
      // The window is two minutes wide from the first sample on.
      x: { range: (_, __, max) => [(max ?? 0) - SAMPLES_MAX, max ?? 0] },
      y: { range: (_, __, max) => [0, Math.max(4, (max ?? 0) * 1.15)] },
    },
    axes: [
      { ...axis, size: 22, gap: 4, space: 90, grid: { show: false }, values: (_, splits) => splits.map((at) => clock(at * 1000)), incrs: [60] },
      { ...axis, size: 40, gap: 6, space: 30, values: (_, splits) => splits.map((value) => (value % 1 ? value.toFixed(1) : count(value))) },
    ],
    series: [{}, line("in"), line("out")],
  };
}
