// Light or dark: read from the background the widget really stands on, never from the system's setting.
import { type Signal, signal } from "@preact/signals";

export type Rgb = readonly [number, number, number];
export interface Theme {
  dark: boolean;
  background: Rgb;
}

export function parseColour(text: string): [number, number, number, number] | null {
  const numbers = text.match(/^rgba?\(([^)]+)\)$/)?.[1]?.split(/[\s,/]+/).map(Number);
  if (!numbers || numbers.length < 3 || numbers.some(Number.isNaN)) return null;
  return [numbers[0]!, numbers[1]!, numbers[2]!, numbers[3] ?? 1];
}

/** Relative luminance (WCAG), 0 black to 1 white. */
export function luminance([r, g, b]: Rgb): number {
  const linear = (value: number) => (value <= 10.31 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}

function backgroundBehind(element: Element): Rgb {
  for (let node: Element | null = element; node; node = parentAcrossShadow(node)) {
    const colour = parseColour(getComputedStyle(node).backgroundColor);
    if (colour && colour[3] > 0.5) return [colour[0], colour[1], colour[2]];
  }
  return [255, 255, 255];
}

function parentAcrossShadow(node: Element): Element | null {
  if (node.parentElement) return node.parentElement;
  const root = node.getRootNode();
  return root instanceof ShadowRoot ? root.host : null;
}

/** Follows the host live: its attributes change first and its style sheet may arrive later, so look more than once. */
export function followTheme(root: HTMLElement): { theme: Signal<Theme>; stop(): void } {
  const look = (): Theme => {
    const background = backgroundBehind(root);
    return { dark: luminance(background) < 0.25, background };
  };
  const theme = signal(look());
  const check = () => {
    const next = look();
    if (String(next.background) !== String(theme.peek().background)) theme.value = next;
  };
  let timers: ReturnType<typeof setTimeout>[] = [];
  const checkSoon = () => {
    timers.forEach(clearTimeout);
    timers = [0, 120, 600, 2000].map((delay) => setTimeout(check, delay));
  };
  const observer = new MutationObserver(checkSoon);
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", checkSoon);
  root.addEventListener("pointerenter", check);
  checkSoon();
  return {
    theme,
    stop() {
      observer.disconnect();
      timers.forEach(clearTimeout);
      system.removeEventListener("change", checkSoon);
      root.removeEventListener("pointerenter", check);
    },
  };
}
