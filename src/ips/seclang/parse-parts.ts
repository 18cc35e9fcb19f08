// Reads what stands within a rule: its variables, its operator, its actions.
import type { RuleChoice, SecActionItem, SecOperator, SecVariable } from './document.ts'

/** Reads a list of variables, `ARGS|!ARGS:q|&TX:/^x/`; a text: what is wrong with it. */
export function parseVariables(text: string): readonly SecVariable[] | string {
  const out: SecVariable[] = []
  let at = 0
  while (at < text.length) {
    const read = parseVariable(text, at)
    if (typeof read === 'string') return read
    out.push(read.variable)
    at = read.end
    if (at >= text.length) break
    const separator = text.charAt(at)
    if (separator !== '|' && separator !== ',')
      return `${text.slice(at, at + 20)} does not belong to a variable`
    at++
  }
  return out.length === 0 ? 'there is no variable' : out
}

const NAME = /\s*([!&]?)\s*([A-Za-z_0-9]+)/y

function parseVariable(text: string, start: number): { variable: SecVariable; end: number } | string {
  NAME.lastIndex = start
  const head = NAME.exec(text)
  if (head === null) return `no variable can be read at ${JSON.stringify(text.slice(start, start + 20))}`
  const name = (head[2] ?? '').toUpperCase()
  const kind = head[1] === '!' ? 'exclude' : head[1] === '&' ? 'count' : 'include'
  let at = NAME.lastIndex
  if (text.charAt(at) !== ':') {
    while (text.charAt(at) === ' ') at++
    return { variable: { name, selector: null, isPattern: false, kind }, end: at }
  }
  at++
  const isQuoted = text.charAt(at) === "'"
  if (isQuoted) at++
  const isPattern = text.charAt(at) === '/' && name !== 'XML' && name !== 'JSON'
  let end: number
  let selector: string
  if (isPattern) {
    end = at + 1
    while (end < text.length && text.charAt(end) !== '/') end += text.charAt(end) === '\\' ? 2 : 1
    if (end >= text.length) return 'a regular expression of a variable is not closed with /'
    selector = text.slice(at + 1, end).replaceAll('\\/', '/')
    end++
  } else {
    end = at
    while (end < text.length && !(isQuoted ? "'" : '|,').includes(text.charAt(end))) end++
    selector = text.slice(at, end)
  }
  if (isQuoted) {
    if (text.charAt(end) !== "'") return "a quoted member of a variable is not closed with '"
    end++
  }
  if (selector === '') return `${name}: has no member behind it`
  return { variable: { name, selector: selector.trim(), isPattern, kind }, end }
}

/** Reads an operator; without `@` it is `@rx`. */
export function parseOperator(text: string): SecOperator {
  const trimmed = text.trimStart()
  const isNegated = trimmed.startsWith('!')
  const rest = isNegated ? trimmed.slice(1).trimStart() : trimmed
  const named = /^@([A-Za-z0-9_]+)/.exec(rest)
  // A lone exclamation mark belongs to a pattern only behind an operator's name.
  if (named === null) return { name: 'rx', argument: isNegated ? rest : trimmed, isNegated }
  const argument = rest.slice(named[0].length)
  return { name: (named[1] ?? '').toLowerCase(), argument: argument.trim(), isNegated }
}

/** Reads a list of actions, `id:1,msg:'a, b',chain`; a text: what is wrong with it. */
export function parseActions(text: string): readonly SecActionItem[] | string {
  const out: SecActionItem[] = []
  let at = 0
  while (at < text.length) {
    if (/[\s,]/.test(text.charAt(at))) {
      at++
      continue
    }
    let end = at
    while (end < text.length && !':,'.includes(text.charAt(end))) end++
    const name = text.slice(at, end).trim().toLowerCase()
    if (!/^[a-z0-9_]+$/.test(name)) return `${JSON.stringify(name.slice(0, 30))} is not the name of an action`
    at = end
    if (text.charAt(at) !== ':') {
      out.push({ name, value: null })
      continue
    }
    const value = actionValue(text, at + 1)
    if (value === null) return `the value of ${name} is not closed with '`
    out.push({ name, value: value.text })
    at = value.end
  }
  return out
}

function actionValue(text: string, start: number): { text: string; end: number } | null {
  let at = start
  while (/\s/.test(text.charAt(at))) at++
  if (text.charAt(at) !== "'") {
    let end = at
    while (end < text.length && text.charAt(end) !== ',') end++
    return { text: text.slice(at, end).trim(), end }
  }
  const parts: string[] = []
  let from = at + 1
  let end = from
  for (; end < text.length && text.charAt(end) !== "'"; end++) {
    if (text.charAt(end) !== '\\' || end + 1 >= text.length) continue
    if (text.charAt(end + 1) === "'") {
      parts.push(text.slice(from, end))
      from = end + 1
    }
    end++
  }
  if (end >= text.length) return null
  parts.push(text.slice(from, end))
  return { text: parts.join(''), end: end + 1 }
}

/** Reads `942100`, `942100-942999`, or several with commas or spaces between; a text: what is wrong. */
export function parseIds(words: readonly string[]): readonly RuleChoice[] | string {
  const out: RuleChoice[] = []
  for (const word of words.flatMap(text => text.split(/[\s,]+/)).filter(text => text !== '')) {
    const range = /^(\d{1,15})(?:-(\d{1,15}))?$/.exec(word)
    if (range === null) return `${JSON.stringify(word.slice(0, 30))} is not an id or a range of ids`
    const from = Number(range[1])
    out.push({ by: 'id', from, to: range[2] === undefined ? from : Number(range[2]) })
  }
  return out.length === 0 ? 'there is no id' : out
}
