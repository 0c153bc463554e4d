import { describe, expect, it } from "vitest";
import { measured } from "../../src/api/measured";
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatPercent,
  formatSpeed,
  formatValue,
} from "../../src/format";

describe("numbers", () => {
  it("have four significant digits, and words for what is no number", () => {
    expect(formatValue(0.123456)).toBe("0.1235");
    expect(formatValue(12.3456)).toBe("12.35");
    expect(formatValue(-0.5)).toBe("−0.5000");
    expect(formatValue(0)).toBe("0");
    expect(formatValue(0.0000123)).toBe("1.23e−5");
    expect(formatValue(1.5e9)).toBe("1.50e9");
    expect(formatValue(Number.NaN)).toBe("NaN");
    expect(formatValue(Number.POSITIVE_INFINITY)).toBe("∞");
    expect(formatValue(null)).toBe("–");
  });

  it("of batches are grouped by thousands", () => {
    expect(formatCount(75_000)).toBe("75\u202f000");
    expect(formatCount(999)).toBe("999");
  });

  it("reach a hundred per cent only at the end", () => {
    expect(formatPercent(0.9999)).toBe("99 %");
    expect(formatPercent(1)).toBe("100 %");
    expect(formatPercent(1.2)).toBe("100 %");
  });

  it("of speeds keep digits where they are slow", () => {
    expect(formatSpeed(0.456)).toBe("0.46");
    expect(formatSpeed(14.23)).toBe("14.2");
    expect(formatSpeed(1234.5)).toBe("1235");
    expect(formatSpeed(null)).toBe("–");
  });

  it("come from the words of the wire", () => {
    expect(measured("NaN")).toBeNaN();
    expect(measured("-Infinity")).toBe(Number.NEGATIVE_INFINITY);
    expect(measured(0.25)).toBe(0.25);
    expect(measured(undefined)).toBeNaN();
  });
});

describe("times and sizes", () => {
  it("have their two largest units", () => {
    expect(formatDuration(42)).toBe("42 s");
    expect(formatDuration(200)).toBe("3 min 20 s");
    expect(formatDuration(3_700)).toBe("1 h 1 min");
    expect(formatDuration(90_000)).toBe("1 d 1 h");
    expect(formatDuration(null)).toBe("–");
  });

  it("tell an age in one unit", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    expect(formatAge("2026-01-01T23:59:58Z", now)).toBe("just now");
    expect(formatAge("2026-01-01T23:55:00Z", now)).toBe("5 min ago");
    expect(formatAge("2025-12-31T00:00:00Z", now)).toBe("2 d ago");
    expect(formatAge(null, now)).toBe("–");
  });

  it("write bytes as file managers do", () => {
    expect(formatBytes(512)).toBe("512 B");
    expect(formatBytes(68_424)).toBe("68.4 kB");
    expect(formatBytes(2_500_000_000)).toBe("2.5 GB");
  });
});
