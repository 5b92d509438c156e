// A button that does nothing but what it says: it never sends a form that a host has put around the widget.
import type { JSX } from "preact";

type Props = JSX.IntrinsicElements["button"] & { testid?: string | undefined };

export function Button({ testid, ...rest }: Props) {
  return <button type="button" data-testid={testid} {...rest} />;
}
