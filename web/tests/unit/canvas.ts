/** A canvas that draws nothing and remembers what it was asked. */

export const canvasCalls: { name: string; stroke: string; dash: string }[] = [];

export function pretendContext(): CanvasRenderingContext2D {
  const state: Record<string, unknown> = { strokeStyle: "", canvas: { width: 600, height: 280 } };
  let dash = "";
  return new Proxy(state, {
    get(target, name: string) {
      if (name === "measureText") return (text: string) => ({ width: text.length * 7 });
      if (name === "setLineDash") {
        return (segments: number[]) => {
          dash = segments.join(" ");
        };
      }
      if (name in target) return target[name];
      return () => {
        canvasCalls.push({ name, stroke: String(target["strokeStyle"]), dash });
      };
    },
    set(target, name: string, value) {
      target[name] = value;
      return true;
    },
  }) as unknown as CanvasRenderingContext2D;
}

/** Whether a line of that colour was drawn. uPlot draws on the next microtask. */
export async function drawn(colour: string): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, 0));
  return canvasCalls.some((call) => call.name === "stroke" && call.stroke === colour);
}
