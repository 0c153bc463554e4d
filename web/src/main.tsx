import { render } from "preact";
import { App } from "./app";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/runs.css";
import "./styles/log.css";
import "./styles/run.css";
import "./styles/chart.css";
import "./styles/docs.css";
import "./styles/sign-in.css";

const root = document.getElementById("app");
if (root !== null) render(<App />, root);
