/** Dark or light: the system's, until the reader chooses. `public/theme.js` applies the choice early. */
import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import type { Theme } from "./charts/palette";
import { recall, remember } from "./remember";

export const ThemeContext = createContext<Theme>("light");

/** The theme that the page is shown in. */
export function useTheme(): Theme {
  return useContext(ThemeContext);
}

const DARK = "(prefers-color-scheme: dark)";

/** The theme in force and what switches it; for the frame alone, others ask {@link useTheme}. */
export function useThemeChoice(): { theme: Theme; toggle: () => void } {
  const [chosen, setChosen] = useState<Theme | null>(() => {
    const stored = recall("theme");
    return stored === "light" || stored === "dark" ? stored : null;
  });
  const [system, setSystem] = useState<Theme>(() => (matchMedia(DARK).matches ? "dark" : "light"));

  useEffect(() => {
    const query = matchMedia(DARK);
    const follow = () => {
      setSystem(query.matches ? "dark" : "light");
    };
    query.addEventListener("change", follow);
    return () => {
      query.removeEventListener("change", follow);
    };
  }, []);

  const theme = chosen ?? system;
  const toggle = () => {
    const next: Theme = theme === "dark" ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    remember("theme", next);
    setChosen(next);
  };
  return { theme, toggle };
}
