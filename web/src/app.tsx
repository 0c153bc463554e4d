/** The frame around every page: head, theme, who looks at it, and which page an address shows. */
import { LocationProvider, Route, Router } from "preact-iso";
import { DocsPage } from "./pages/docs/page";
import { ProblemsPage } from "./pages/docs/problems";
import { NotFound } from "./pages/not-found";
import { RunPage } from "./pages/run/page";
import { RunsPage } from "./pages/runs/page";
import { SignInPage } from "./pages/sign-in";
import { Icon } from "./parts/icon";
import { Reader } from "./parts/reader";
import { SessionContext, useSession } from "./session";
import { ThemeContext, useThemeChoice } from "./theme";

export function App() {
  const { theme, toggle } = useThemeChoice();
  const session = useSession();
  return (
    <ThemeContext.Provider value={theme}>
      <SessionContext.Provider value={session}>
        <LocationProvider>
          <a class="skip" href="#main">
            Skip to the content
          </a>
          <header class="top">
            <div class="top-inner">
              <a class="brand" href="/">
                <img src="/favicon.svg" alt="" width="26" height="26" />
                Motif
              </a>
              <nav aria-label="Main">
                <a href="/">Runs</a>
                <a href="/docs">API</a>
              </nav>
              <Reader />
              <button
                type="button"
                class="icon-button"
                onClick={toggle}
                aria-label={theme === "dark" ? "Use light colours" : "Use dark colours"}
                title={theme === "dark" ? "Use light colours" : "Use dark colours"}
              >
                <Icon name={theme === "dark" ? "sun" : "moon"} />
              </button>
            </div>
          </header>
          <main id="main" tabIndex={-1}>
            {session.state === "out" && <SignInPage />}
            {session.state === "in" && (
              <Router>
                <Route path="/" component={RunsPage} />
                <Route path="/runs" component={RunsPage} />
                <Route path="/runs/:id" component={RunPage} />
                <Route path="/docs" component={DocsPage} />
                <Route path="/docs/problems" component={ProblemsPage} />
                <Route default component={NotFound} />
              </Router>
            )}
          </main>
        </LocationProvider>
      </SessionContext.Provider>
    </ThemeContext.Provider>
  );
}
