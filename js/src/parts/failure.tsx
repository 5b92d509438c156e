// What went wrong, in the place where it was asked for.

export function Failure({ message, testid }: { message: string | null | undefined; testid?: string }) {
  return message ? (
    <p class="fv-failed" role="alert" data-testid={testid}>
      {message}
    </p>
  ) : null;
}
