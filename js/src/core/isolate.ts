// Keeps the widget's own events from the notebook: Lab's shortcuts (d d deletes the cell), its shift-drag, VS Code's wheel.

const POINTER = ["pointerdown", "mousedown", "touchstart", "click", "dblclick", "contextmenu", "wheel"] as const;
const KEYS = ["keydown", "keyup", "keypress"] as const;

export function isolate(root: HTMLElement): () => void {
  const stop = (event: Event) => event.stopPropagation();
  const stopKey = (event: Event) => {
    if (event instanceof KeyboardEvent && event.key === "Tab") return;
    event.stopPropagation();
  };
  for (const name of POINTER) root.addEventListener(name, stop, { passive: true });
  for (const name of KEYS) root.addEventListener(name, stopKey);
  // Lumino listens in the capture phase in some versions, where only this attribute holds it back.
  root.dataset.lmSuppressShortcuts = "true";
  return () => {
    for (const name of POINTER) root.removeEventListener(name, stop);
    for (const name of KEYS) root.removeEventListener(name, stopKey);
  };
}
