// Other views of a decoded value: what a browser, a database or a shell makes of it. The value itself stays beside them.
import { backslashEscapes } from './escapes.ts'

/** A view, and what was done for it. */
export type View = { readonly text: string; readonly step: string }

const CHARACTER_LEVEL = /[\\\0]|[^\0-\x7f]/

/** Characters as lenient readers see them: escapes after a backslash, NUL bytes, signs that look or convert like ASCII. */
export function characterView(text: string): View | null {
  if (!CHARACTER_LEVEL.test(text)) return null
  const steps: string[] = []
  let view = backslashEscapes(text)
  if (view !== text) steps.push('backslash escape')
  if (view.includes('\0')) {
    view = view.replaceAll('\0', '')
    steps.push('NUL')
  }
  const fitted = /[^\0-\x7f]/.test(view) ? bestFit(view) : view
  if (fitted !== view) steps.push('full width')
  return steps.length === 0 ? null : { text: fitted.toLowerCase(), step: steps.join(', ') }
}

/** Signs of Unicode that conversions to old code pages turn into ASCII ones: full width, look-alike quotes, slashes, blanks. */
function bestFit(text: string): string {
  return text
    .replaceAll(/[\uff01-\uff5e]/g, sign => String.fromCharCode(sign.charCodeAt(0) - 0xfee0))
    .replaceAll(/[\u2018\u2019\u02bc\u02b9\u2032\u00b4]/g, "'")
    .replaceAll(/[\u201c\u201d\u02ba\u2033]/g, '"')
    .replaceAll(/[\u2044\u2215\u29f8]/g, '/')
    .replaceAll(/[\u2216\u29f5\ufe68]/g, '\\')
    .replaceAll(/[\u2039\u2329\u3008\ufe64]/g, '<')
    .replaceAll(/[\u203a\u232a\u3009\ufe65]/g, '>')
    .replaceAll(/[\u2010-\u2015\u2212]/g, '-')
    .replaceAll(/[\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/g, ' ')
    .replaceAll(/[\u00ad\u200b-\u200f\u2060\ufeff]/g, '')
    .replaceAll('\u017f', 's')
    .replaceAll('\u212a', 'k')
}

// A comment; or something between letters that a shell takes away.
const TOKEN_LEVEL = /\/\*|\n|\w(?:''|""|\^)\w|\$(?:ifs|\{ifs|[@*])|[a-z]\\[a-z]/

/** Words as a database or a shell sees them: comments are blanks, quotes and carets within words are nothing. */
export function tokenView(text: string): View | null {
  if (!TOKEN_LEVEL.test(text)) return null
  const steps: string[] = []
  let view = text.includes('/*') ? withoutComments(text) : text
  if (view.includes('\n') && (view.includes('--') || view.includes('#'))) view = withoutLineComments(view)
  if (view !== text) steps.push('comment')
  const shell = asShell(view)
  if (shell !== view) steps.push('shell quoting')
  return steps.length === 0 ? null : { text: shell, step: steps.join(', ') }
}

/** `/*!50000 x` runs in MySQL; every other comment is a blank. One that does not end reaches to the end for nobody's good. */
function withoutComments(text: string): string {
  let out = ''
  let from = 0
  for (let at = text.indexOf('/*'); at >= 0; at = text.indexOf('/*', from)) {
    out += `${text.slice(from, at)} `
    if (text[at + 2] === '!') {
      from = at + 3
      while (from < at + 9 && isDigit(text.charCodeAt(from))) from++
      continue
    }
    const end = text.indexOf('*/', at + 2)
    from = end < 0 ? at + 2 : end + 2
    if (end < 0) break
  }
  return (out + text.slice(from)).replaceAll('*/', ' ')
}

/** `--` and `#` to the end of their line, as databases read them. */
function withoutLineComments(text: string): string {
  const lines = text.split('\n')
  const last = lines.length - 1
  return lines
    .map((line, index) => {
      if (index === last) return line
      const dashes = line.indexOf('--')
      const hash = line.indexOf('#')
      const at = dashes < 0 ? hash : hash < 0 ? dashes : Math.min(dashes, hash)
      return at < 0 ? line : line.slice(0, at)
    })
    .join('\n')
}

function asShell(text: string): string {
  let view = text
  if (view.includes('$'))
    view = view.replaceAll(/\$\{ifs[^}]{0,20}\}|\$ifs(?:\$\d)?/g, ' ').replaceAll(/\$[@*]/g, '')
  if (view.includes("''") || view.includes('""')) view = view.replaceAll(/(?<=\w)(?:''|"")(?=\w)/g, '')
  if (view.includes('^')) view = view.replaceAll(/\^(?=\w)/g, '')
  // Backslashes go only where they cannot be those of a Windows path.
  if (view.includes('\\') && view.includes('/') && !/[a-z]:\\|\\\\/.test(view))
    view = view.replaceAll(/(?<=^|[a-z\s;|&`(])\\(?=[a-z])/g, '')
  return view
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}
