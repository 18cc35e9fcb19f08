// Texts with `%{...}` in them: what they stand for is known when a rule is asked.
import type { Run } from '../rule.ts'

/** Reads a value of the run by name and member; undefined: there is none. */
export type MacroReader = (name: string, member: string | null, run: Run) => string | undefined

/** A text with macros; `fixed` is the whole text when there are none in it. */
export type Macro = { readonly fixed: string | null; readonly expand: (run: Run) => string }

/** Longest text that a macro may expand to: values of a request are quoted in it. */
const MAX_EXPANDED = 20_000

const MACRO = /%\{([A-Za-z_0-9]+)(?:[.:]([^}]*))?\}/g

/** Compiles a text. A macro that stands for nothing is empty. */
export function compileMacro(text: string, read: MacroReader): Macro {
  if (!text.includes('%{')) return { fixed: text, expand: () => text }
  const parts: (string | ((run: Run) => string))[] = []
  let from = 0
  for (const match of text.matchAll(MACRO)) {
    const name = (match[1] ?? '').toUpperCase()
    const member = match[2] ?? null
    if (match.index > from) parts.push(text.slice(from, match.index))
    parts.push(run => read(name, member, run) ?? '')
    from = match.index + match[0].length
  }
  if (from < text.length) parts.push(text.slice(from))
  if (parts.every(part => typeof part === 'string')) return { fixed: text, expand: () => text }
  return {
    fixed: null,
    expand: run => {
      let out = ''
      for (const part of parts) {
        out += typeof part === 'string' ? part : part(run)
        if (out.length > MAX_EXPANDED) return out.slice(0, MAX_EXPANDED)
      }
      return out
    },
  }
}
