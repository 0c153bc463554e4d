/** Who looks at the pages, as far as the coordinator asks. */
import { createContext } from "preact";
import { useCallback, useContext, useEffect, useMemo, useState } from "preact/hooks";
import { api, ApiError, isAbort, onSignedOut } from "./api/client";
import type { Me } from "./api/types";

export interface Session {
  /** `asking` until the first answer; `out` where a token is needed. */
  state: "asking" | "in" | "out";
  /** Unknown while the coordinator cannot be reached. */
  me: Me | null;
  signIn: (token: string) => Promise<void>;
  signOut: () => Promise<void>;
}

export const SessionContext = createContext<Session>({
  state: "asking",
  me: null,
  signIn: () => Promise.resolve(),
  signOut: () => Promise.resolve(),
});

/** Asks who we are, and notices when the coordinator no longer knows. */
export function useSession(): Session {
  const [state, setState] = useState<Session["state"]>("asking");
  const [me, setMe] = useState<Me | null>(null);

  useEffect(
    () =>
      onSignedOut(() => {
        setState("out");
        setMe(null);
      }),
    [],
  );

  useEffect(() => {
    const controller = new AbortController();
    api
      .me(controller.signal)
      .then((answer) => {
        setMe(answer);
        setState("in");
      })
      .catch((reason: unknown) => {
        // A coordinator that is away is the pages' own matter: they say so and try again.
        if (!isAbort(reason) && !(reason instanceof ApiError && reason.status === 401)) setState("in");
      });
    return () => {
      controller.abort();
    };
  }, []);

  const signIn = useCallback(async (token: string) => {
    setMe(await api.signIn(token));
    setState("in");
  }, []);
  const signOut = useCallback(async () => {
    await api.signOut();
    setMe(null);
    setState("out");
  }, []);
  return useMemo(() => ({ state, me, signIn, signOut }), [state, me, signIn, signOut]);
}

/** Whether the reader may submit and cancel; also true while nobody knows, as the coordinator decides. */
export function useMaySubmit(): boolean {
  const { me } = useContext(SessionContext);
  return me === null || me.scopes.some((scope) => scope === "admin" || scope === "submit");
}
