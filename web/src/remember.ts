/** What a browser keeps of a reader's choices. Storage may be forbidden or full; then nothing is kept. */

const PREFIX = "motif.";

export function recall(key: string): string | null {
  try {
    return localStorage.getItem(PREFIX + key);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + key, value);
  } catch {
    // The choice holds until the page is left.
  }
}
