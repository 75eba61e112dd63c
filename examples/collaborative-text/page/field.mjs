// A text field as an editor sees it: what the user does to it becomes operations, operations of others are done to it, and the caret stays
// where it was in the text. While a character is being composed (an accent, kanji), the field is the input method's, and others wait.

import { apply, compose, diff, moveIndex, transform } from "./ot.mjs";

export class Field {
  text = "";
  /** What others did while a character was being composed. */
  held = null;
  composing = false;

  /** `onEdit(operation)` is told what the user did to the view. */
  constructor(area, onEdit) {
    this.area = area;
    this.onEdit = onEdit;
    area.addEventListener("input", () => this.composing || this.read());
    area.addEventListener("compositionstart", () => (this.composing = true));
    area.addEventListener("compositionend", () => {
      this.composing = false;
      this.read();
    });
  }

  get selection() {
    return [this.area.selectionStart, this.area.selectionEnd];
  }

  read() {
    let operation = diff(this.text, this.area.value, this.area.selectionEnd);
    this.text = this.area.value;
    const { held } = this;
    this.held = null;
    let waited = null;
    if (held) [waited, operation] = transform(held, operation);
    this.onEdit(operation);
    if (waited) this.change(waited);
  }

  /** The view has been changed by this operation, by others or to take something back. */
  change(operation, own = false) {
    if (this.composing) {
      this.held = this.held ? compose(this.held, operation) : operation;
      return;
    }
    const { area } = this;
    const [from, to] = this.selection.map((index) => moveIndex(index, operation, own));
    const { selectionDirection, scrollTop } = area;
    this.text = apply(this.text, operation);
    area.value = this.text;
    area.setSelectionRange(from, to, selectionDirection);
    area.scrollTop = scrollTop;
  }
}
