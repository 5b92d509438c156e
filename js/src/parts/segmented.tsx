// A row of choices of which one is taken: radio buttons in looks and in behaviour.
import { Button } from "./button";

type Choice<T extends string> = readonly [value: T, label: string, disabled?: boolean];

interface Props<T extends string> {
  label: string;
  choices: readonly Choice<T>[];
  value: T | null;
  /** Test ids of the choices are this and their value. */
  testids: string;
  onChoose(value: T): void;
}

export function Segmented<T extends string>({ label, choices, value, testids, onChoose }: Props<T>) {
  const open = choices.filter(([, , disabled]) => !disabled).map(([one]) => one);
  const reachable = value !== null && open.includes(value) ? value : open[0];

  function onKeyDown(event: KeyboardEvent & { currentTarget: HTMLElement }) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || reachable === undefined) return;
    event.preventDefault();
    const to = (open.indexOf(reachable) + by + open.length) % open.length;
    onChoose(open[to]!);
    event.currentTarget.querySelectorAll<HTMLButtonElement>("button:not(:disabled)")[to]?.focus();
  }

  return (
    <div class="fv-segmented" role="radiogroup" aria-label={label} onKeyDown={onKeyDown}>
      {choices.map(([one, name, disabled = false]) => (
        <Button key={one} role="radio" aria-checked={one === value} tabIndex={one === reachable ? 0 : -1} disabled={disabled} testid={testids + one} onClick={() => onChoose(one)}>
          {name}
        </Button>
      ))}
    </div>
  );
}
