// What the colours and shapes on the map mean; always in sight.
import { short, whole } from "../core/format";
import { categoryColour, css, outcomeColour, rampColour } from "../core/scales";
import type { Channel } from "../data/points";

interface Props {
  channel: Channel | null;
  nWrong: number | null;
  n: number;
  dark: boolean;
}

const SHOWN = 10;

export function Legend({ channel, nWrong, n, dark }: Props) {
  return (
    <div class="fv-legend" data-testid="legend" aria-label="Legend">
      {channel?.kind === "category" && <Categories names={channel.categories ?? []} dark={dark} />}
      {channel?.kind === "number" && <Ramp channel={channel} dark={dark} />}
      {nWrong !== null && (
        <span class="fv-keys">
          <Key shape="dot" colour={channel?.kind === "outcome" ? css(outcomeColour(false, dark)) : "currentColor"}>
            right {whole(n - nWrong)}
          </Key>
          <Key shape="cross" colour={channel?.kind === "outcome" ? css(outcomeColour(true, dark)) : "currentColor"}>
            wrong {whole(nWrong)}
          </Key>
        </span>
      )}
    </div>
  );
}

function Categories({ names, dark }: { names: string[]; dark: boolean }) {
  const shown = names.length > SHOWN + 1 ? names.slice(0, SHOWN) : names;
  return (
    <span class="fv-keys">
      {shown.map((name, i) => (
        <Key key={name} shape="dot" colour={css(categoryColour(i, dark))}>
          {name}
        </Key>
      ))}
      {shown.length < names.length && <span title={names.slice(SHOWN).join(", ")}>and {names.length - shown.length} more</span>}
    </span>
  );
}

function Ramp({ channel, dark }: { channel: Channel; dark: boolean }) {
  const { low, high } = channel;
  // A loss that starts at 1e-11 starts at 0.
  const start = low !== null && high !== null && Math.abs(low) < (high - low) / 1000 ? 0 : low;
  const stops = Array.from({ length: 9 }, (_, i) => css(rampColour(i / 8, dark)));
  return (
    <span class="fv-ramp">
      {channel.label} {short(start)}
      <i style={{ background: `linear-gradient(to right, ${stops.join(",")})` }} />
      {short(high)}
    </span>
  );
}

function Key({ shape, colour, children }: { shape: "dot" | "cross"; colour: string; children: preact.ComponentChildren }) {
  return (
    <span class="fv-key">
      <svg viewBox="0 0 10 10" style={{ color: colour }} aria-hidden="true">
        {shape === "dot" ? <circle cx="5" cy="5" r="3.6" fill="currentColor" /> : <path d="M1.8 1.8 8.2 8.2M8.2 1.8 1.8 8.2" />}
      </svg>
      {children}
    </span>
  );
}
