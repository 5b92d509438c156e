// Ctrl/Cmd+Z anywhere in the widget but in a text field, which has an undo of its own.

export function listenForUndo(root: HTMLElement, act: (which: "undo" | "redo") => void): () => void {
  function onKeyDown(event: KeyboardEvent) {
    const key = event.key.toLowerCase();
    const which = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
    if (!which || !(event.ctrlKey || event.metaKey) || isTextField(event.target)) return;
    event.preventDefault();
    act(which);
  }
  root.addEventListener("keydown", onKeyDown);
  return () => root.removeEventListener("keydown", onKeyDown);
}

function isTextField(target: EventTarget | null): boolean {
  return target instanceof HTMLTextAreaElement || (target instanceof HTMLInputElement && ["text", "number"].includes(target.type));
}
