// Name, tags and note of one slice. What is typed stays until Python has confirmed it.
import { useEffect, useRef, useState } from "preact/hooks";
import { type Label, addTag, edit, isDirty, shownLabel } from "../core/drafts";
import type { Slices } from "../data/slices";
import { Button } from "./button";

interface Props {
  slices: Slices;
  /** Key of the draft, and what Python has. */
  draftKey: string;
  kept: Label;
  saveAs: string;
  naming: number;
  onSaved(key: string): void;
}

export function LabelForm({ slices, draftKey, kept, saveAs, naming, onSaved }: Props) {
  const label = shownLabel(slices.drafts.value, draftKey, kept);
  const dirty = isDirty(slices.drafts.value, draftKey, kept);
  const failure = slices.failed.value?.key === draftKey ? slices.failed.value.message : null;
  const [tag, setTag] = useState("");
  const [saved, setSaved] = useState("");
  const name = useRef<HTMLInputElement>(null);
  const named = useRef(naming);

  useEffect(() => {
    if (naming !== named.current) name.current?.focus();
    named.current = naming;
  }, [naming]);

  function change(part: Partial<Label>) {
    setSaved("");
    slices.drafts.value = edit(slices.drafts.value, draftKey, kept, part);
  }

  function takeTag(): Label {
    const tags = addTag(label.tags, tag);
    setTag("");
    if (tags !== label.tags) change({ tags });
    return { ...label, tags };
  }

  async function save() {
    const whole = takeTag();
    if (slices.saving.value || whole.name.trim() === "") return;
    const key = await slices.save(draftKey, whole);
    if (key === null) return;
    setSaved(slices.said.value);
    onSaved(key);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (!(event.ctrlKey || event.metaKey) || (event.key !== "s" && event.key !== "Enter")) return;
    event.preventDefault();
    void save();
  }

  return (
    <form
      class="fv-form"
      aria-label="Label"
      onKeyDown={onKeyDown}
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <label class="fv-field">
        <span>Name</span>
        <input
          ref={name}
          type="text"
          value={label.name}
          placeholder="What do these have in common?"
          autocomplete="off"
          data-testid="name-input"
          onInput={(event) => change({ name: event.currentTarget.value })}
        />
      </label>
      <div class="fv-field">
        <span id={`${draftKey}-tags`}>Tags</span>
        <div class="fv-tags" role="group" aria-labelledby={`${draftKey}-tags`}>
          {label.tags.map((one) => (
            <span key={one} class="fv-chip" data-testid="tag">
              {one}
              <Button aria-label={`Remove tag ${one}`} testid="tag-remove" onClick={() => change({ tags: label.tags.filter((other) => other !== one) })}>
                ×
              </Button>
            </span>
          ))}
          <input
            type="text"
            value={tag}
            placeholder="Add a tag"
            aria-label="Add a tag"
            autocomplete="off"
            data-testid="tag-input"
            onInput={(event) => setTag(event.currentTarget.value)}
            onBlur={takeTag}
            onKeyDown={(event) => {
              if ((event.key !== "Enter" && event.key !== ",") || event.ctrlKey || event.metaKey || tag.trim() === "") return;
              event.preventDefault();
              takeTag();
            }}
          />
        </div>
      </div>
      <label class="fv-field">
        <span>Note</span>
        <textarea rows={2} value={label.note} data-testid="note-input" onInput={(event) => change({ note: event.currentTarget.value })} />
      </label>
      <div class="fv-save">
        <button type="submit" class="fv-primary" data-testid="save-button" disabled={!dirty && tag.trim() === "" ? true : slices.saving.value || label.name.trim() === ""}>
          {saveAs}
        </button>
        {failure ? (
          <p class="fv-failed" role="alert" data-testid="save-error">
            Not saved: {failure}
          </p>
        ) : (
          <p class="fv-muted" data-testid="save-status">
            {slices.saving.value ? "saving" : dirty ? "not saved yet" : saved}
          </p>
        )}
      </div>
    </form>
  );
}
