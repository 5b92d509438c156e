// What a person has typed and not saved, kept per slice: switching slices or a refetch never overwrites it.

export interface Label {
  name: string;
  tags: string[];
  note: string;
}

export type Drafts = ReadonlyMap<string, Label>;

/** The draft of a selection that has no key yet. */
export const NEW = "\u0000new";

export function sameLabel(a: Label, b: Label): boolean {
  return a.name === b.name && a.note === b.note && a.tags.length === b.tags.length && a.tags.every((tag, i) => tag === b.tags[i]);
}

/** What the form shows: the draft where there is one, else what Python has. */
export function shownLabel(drafts: Drafts, key: string, kept: Label): Label {
  return drafts.get(key) ?? kept;
}

export function isDirty(drafts: Drafts, key: string, kept: Label): boolean {
  const draft = drafts.get(key);
  return draft !== undefined && !sameLabel(draft, kept);
}

export function edit(drafts: Drafts, key: string, kept: Label, change: Partial<Label>): Drafts {
  const draft = { ...shownLabel(drafts, key, kept), ...change };
  const next = new Map(drafts);
  if (sameLabel(draft, kept)) next.delete(key);
  else next.set(key, draft);
  return next;
}

/** After Python has confirmed `saved`: drop the draft, unless the person has typed on in the meantime. */
export function settle(drafts: Drafts, key: string, saved: Label): Drafts {
  const draft = drafts.get(key);
  if (!draft || !sameLabel(trimmed(draft), trimmed(saved))) return drafts;
  return discard(drafts, key);
}

export function discard(drafts: Drafts, key: string): Drafts {
  const next = new Map(drafts);
  next.delete(key);
  return next;
}

export function trimmed(label: Label): Label {
  return { name: label.name.trim(), tags: label.tags, note: label.note.trim() };
}

/** Tags are a set with an order: blanks and repetitions are ignored. */
export function addTag(tags: string[], tag: string): string[] {
  const clean = tag.trim();
  return clean === "" || tags.includes(clean) ? tags : [...tags, clean];
}
