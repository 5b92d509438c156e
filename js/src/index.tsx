// The widget in anywidget's form: one render per view, and what it creates its cleanup removes.
import type { RenderProps } from "@anywidget/types";
import { effect, signal } from "@preact/signals";
import { render as mount } from "preact";
import { isolate } from "./core/isolate";
import { css, groundColour } from "./core/scales";
import { createStore } from "./core/store";
import { followTheme } from "./core/theme";
import { listenForUndo } from "./core/undokeys";
import { type Session, type Shape, createSession } from "./data/session";
import type { RendererName } from "./map/renderer";
import { App } from "./views/app";
import baseStyles from "./base.css";
import styles from "./explorer.css";
import retrainStyles from "./retrain.css";

function render({ model, el }: RenderProps): () => void {
  const root = document.createElement("div");
  root.className = "failviz";
  root.dataset.failviz = "loading";
  const style = document.createElement("style");
  style.textContent = baseStyles + styles + retrainStyles;
  el.classList.add("failviz-host");
  el.append(style, root);

  const shape = signal<Shape>("wide");
  const watch = new ResizeObserver(([entry]) => {
    const { width } = entry!.contentRect;
    if (width > 0) shape.value = width >= 1000 ? "wide" : width >= 700 ? "folded" : "stacked";
  });
  watch.observe(root);
  const { theme, stop: stopTheme } = followTheme(root);
  const session = createSession(createStore(model), theme, shape);
  const stops = [
    isolate(root),
    listenForUndo(root, (which) => {
      const slices = session.loaded.value?.slices;
      const history = slices?.history.value;
      if (which === "undo" ? history?.can_undo : history?.can_redo) void slices?.[which]();
    }),
    effect(() => mark(root, session)),
    stopTheme,
    () => watch.disconnect(),
  ];
  mount(<App session={session} wish={wishOf(el)} />, root);

  return () => {
    mount(null, root);
    stops.forEach((stop) => stop());
    session.dispose();
    root.remove();
    el.classList.remove("failviz-host");
    style.remove();
  };
}

/** What the root says about itself: for style sheets, and for whoever drives the widget from outside. */
function mark(root: HTMLElement, session: Session): void {
  const loaded = session.loaded.value;
  const { silent, problem } = session.connection;
  const ready = loaded !== null && loaded.slices.list.value !== null && loaded.points.positions.value !== null && loaded.points.channel.value !== null;
  root.dataset.failviz = ready ? "ready" : silent.value || problem.value !== null ? "error" : "loading";
  root.dataset.theme = session.theme.value.dark ? "dark" : "light";
  root.style.setProperty("--fv-ground", css(groundColour(session.theme.value)));
  root.style.setProperty("--fv-page", css(session.theme.value.background));
  root.dataset.shape = session.shape.value;
  root.dataset.source = loaded?.info.source ?? "";
  root.dataset.view = session.store.view.value;
  root.dataset.renderer = session.renderer.value;
  root.dataset.activeSlice = session.store.activeSlice.value ?? "";
  root.dataset.step = String(session.store.step.value);
  root.dataset.selected = String(loaded?.points.selection.value.count ?? 0);
  root.dataset.selectionRevision = String(loaded?.points.selection.value.revision ?? 0);
  root.dataset.layoutRevision = String(loaded?.points.layout.value?.revision ?? "");
  root.dataset.slicesRevision = String(loaded?.slices.revision.value ?? "");
  root.dataset.saves = String(loaded?.slices.saves.value ?? 0);
}

/** A page may ask for one renderer with data-failviz-renderer on the element it gives. */
function wishOf(el: HTMLElement): RendererName | null {
  const wish = el.dataset.failvizRenderer;
  return wish === "webgl2" || wish === "canvas2d" ? wish : null;
}

export default { render };
