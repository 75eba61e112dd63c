// Puts the page into the document.

import { render } from "preact";
import { App } from "./app";
import "uplot/dist/uPlot.min.css";
import "./styles/base.css";
import "./styles/parts.css";

const page = document.getElementById("page");
if (page) render(<App />, page);
