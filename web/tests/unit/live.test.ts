import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { follow, type StreamState } from "../../src/live";

/** An EventSource that does what the test says. */
class PretendSource extends EventTarget {
  static readonly CLOSED = 2;
  static made: PretendSource[] = [];
  readyState = 0;

  constructor(readonly url: string) {
    super();
    PretendSource.made.push(this);
  }

  close() {
    this.readyState = PretendSource.CLOSED;
  }

  opens() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  fails(readyState: number) {
    this.readyState = readyState;
    this.dispatchEvent(new Event("error"));
  }

  says(name: string, data: unknown, lastEventId = "1") {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data), lastEventId }));
  }
}

function newest(): PretendSource {
  const source = PretendSource.made.at(-1);
  if (source === undefined) throw new Error("no stream was opened");
  return source;
}

describe("a stream", () => {
  const states: StreamState[] = [];
  const onStart = vi.fn();
  const onRewind = vi.fn();
  let stop: () => void;

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal("EventSource", PretendSource);
    PretendSource.made = [];
    states.length = 0;
    onStart.mockReset();
    onRewind.mockReset();
    stop = follow("a b", { onStart, onRewind, onState: (state) => states.push(state) });
  });

  afterEach(() => {
    stop();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  it("has the page fetch when it stands, and hands on what it says", () => {
    expect(newest().url).toBe("/api/v1/runs/a%20b/events");
    newest().opens();
    expect(onStart).toHaveBeenCalledOnce();
    newest().says("rewind", { run: "a", next_batch: 5 });
    expect(onRewind).toHaveBeenCalledWith({ run: "a", next_batch: 5 });
    expect(states).toEqual(["connecting", "live"]);
  });

  it("that comes back by itself fetches nothing again", () => {
    newest().opens();
    newest().says("run", {});
    newest().fails(0);
    expect(states.at(-1)).toBe("lost");
    newest().opens();
    expect(states.at(-1)).toBe("live");
    expect(onStart).toHaveBeenCalledOnce();
  });

  it("that gave up is opened anew, and everything is fetched again", () => {
    newest().opens();
    newest().says("run", {});
    newest().fails(PretendSource.CLOSED);
    vi.advanceTimersByTime(1_000);
    expect(PretendSource.made).toHaveLength(2);
    newest().opens();
    expect(onStart).toHaveBeenCalledTimes(2);
  });

  it("that cannot be continued has the page fetch anew", () => {
    newest().opens();
    newest().says("reset", {});
    expect(onStart).toHaveBeenCalledTimes(2);
  });

  it("ignores what it cannot read", () => {
    newest().opens();
    newest().dispatchEvent(new MessageEvent("rewind", { data: "{", lastEventId: "2" }));
    expect(onRewind).not.toHaveBeenCalled();
  });

  it("that was left is closed for good", () => {
    const source = newest();
    stop();
    expect(source.readyState).toBe(PretendSource.CLOSED);
    source.fails(PretendSource.CLOSED);
    vi.advanceTimersByTime(60_000);
    expect(PretendSource.made).toHaveLength(1);
  });
});
