// A row of choices of which one is taken: radio buttons in looks and in behaviour.

interface Choice<T extends string> {
  value: T;
  label: string;
  disabled?: boolean;
  testid?: string;
}

interface Props<T extends string> {
  label: string;
  choices: readonly Choice<T>[];
  value: T | null;
  onChoose(value: T): void;
}

export function Segmented<T extends string>({ label, choices, value, onChoose }: Props<T>) {
  const open = choices.filter((choice) => !choice.disabled);
  const reachable = open.some((choice) => choice.value === value) ? value : open[0]?.value;

  function onKeyDown(event: KeyboardEvent & { currentTarget: HTMLElement }) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const at = open.findIndex((choice) => choice.value === reachable);
    const next = open[(at + by + open.length) % open.length];
    if (!next) return;
    onChoose(next.value);
    const buttons = [...event.currentTarget.querySelectorAll<HTMLButtonElement>("button:not(:disabled)")];
    buttons[(at + by + open.length) % open.length]?.focus();
  }

  return (
    <div class="fv-segmented" role="radiogroup" aria-label={label} onKeyDown={onKeyDown}>
      {choices.map((choice) => (
        <button
          key={choice.value}
          type="button"
          role="radio"
          aria-checked={choice.value === value}
          tabIndex={choice.value === reachable ? 0 : -1}
          disabled={choice.disabled ?? false}
          data-testid={choice.testid}
          onClick={() => onChoose(choice.value)}
        >
          {choice.label}
        </button>
      ))}
    </div>
  );
}
