// HTML that is safe by construction: every value is escaped unless it is HTML itself.

/** A piece of HTML. Only `html` makes one, so that text can never be taken for markup. */
export class Html {
  readonly #text: string

  private constructor(text: string) {
    this.#text = text
  }

  /** Joins literal parts, which are trusted, with values, which are not. */
  static join(parts: readonly string[], values: readonly Content[]): Html {
    let text = parts[0] ?? ''
    for (const [index, value] of values.entries()) text += render(value) + (parts[index + 1] ?? '')
    return new Html(text)
  }

  toString(): string {
    return this.#text
  }
}

/** What may stand in a template: text and numbers are escaped, nothing is shown for null and false. */
export type Content = Html | string | number | null | undefined | false | readonly Content[]

/** Template tag. Attributes must be quoted: `<a href="${link}">`. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Html {
  return Html.join(parts, values)
}

function render(value: Content): string {
  if (value === null || value === undefined || value === false) return ''
  if (value instanceof Html) return value.toString()
  if (typeof value === 'object') return value.map(render).join('')
  return escapeHtml(String(value))
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text as it stands in HTML, inside quoted attributes, too. */
function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, character => ESCAPES[character] ?? character)
}
