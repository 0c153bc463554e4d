/** What jsdom lacks and uPlot needs: a canvas to draw on, media queries, sizes, event streams. */
import { cleanup } from "@testing-library/preact";
import { afterEach, beforeEach } from "vitest";
import { canvasCalls, pretendContext } from "./canvas";

Object.assign(globalThis, {
  Path2D: class {
    moveTo() {}
    lineTo() {}
    rect() {}
    arc() {}
    closePath() {}
    addPath() {}
    bezierCurveTo() {}
  },
  ResizeObserver: class {
    observe() {}
    unobserve() {}
    disconnect() {}
  },
  matchMedia: (media: string) => ({
    media,
    matches: false,
    addEventListener() {},
    removeEventListener() {},
  }),
});

HTMLCanvasElement.prototype.getContext = (() => pretendContext()) as never;
HTMLDialogElement.prototype.showModal = function showModal() {
  this.open = true;
};
HTMLDialogElement.prototype.close = function close() {
  this.open = false;
};

beforeEach(() => {
  canvasCalls.length = 0;
  localStorage.clear();
});

afterEach(() => {
  cleanup();
});
