// A button that copies a text and says that it did.

import { useEffect, useState } from "preact/hooks";
import { Check, Copy } from "./icons";

const SAID_MS = 1_600;

export function CopyButton({ text, what, label }: { text: string; what: string; label?: string }) {
  const [said, say] = useState<"" | "Copied" | "Cannot copy">("");
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => say(""), SAID_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = () =>
    navigator.clipboard
      // Not there on pages that came neither from loopback nor over https.
      ? navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("Cannot copy"))
      : say("Cannot copy");
  return (
    <button type="button" class={label ? "small" : "quiet tiny"} onClick={copy} aria-label={`Copy ${what}`} title={said || `Copy ${what}`}>
      {said === "Copied" ? <Check /> : <Copy />}
      {label && <span>{said || label}</span>}
      <span class="unseen" role="status">
        {said}
      </span>
    </button>
  );
}
