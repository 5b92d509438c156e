// What went wrong, in the place where it was asked for.
import { sentence } from "../core/format";

export function Failure({ message, testid }: { message: string | null | undefined; testid?: string }) {
  return message ? (
    <p class="fv-failed" role="alert" data-testid={testid}>
      {sentence(message)}
    </p>
  ) : null;
}
