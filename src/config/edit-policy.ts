// Edits the text of a policy file: merges a patch into it so that every line it does not concern stays as it is, comments and all.
import { isCollection, isMap, isScalar, isSeq, parse, parseDocument, type Node, type Pair } from 'yaml'
import { flowText, keyText, linesOf, type Lines } from './patch-text.ts'
import { readYaml } from './read.ts'

/** The new text, or why there is none. */
export type PolicyEdit =
  | { readonly ok: true; readonly text: string; readonly changed: boolean }
  | { readonly ok: false; readonly problem: string }

type Change = { readonly at: number; readonly end: number; readonly text: string }

/** What is being edited. `indent` is the column of the keys of the block that holds the node. */
type Place = { readonly text: string; readonly indent: number; readonly inFlow: boolean }

/**
 * Merges a patch into the text of a policy file: blocks are joined, lists get longer (what they hold already is not repeated),
 * everything else is replaced. What comes out means exactly the merged policy, or nothing is changed.
 * @param file name for messages
 */
export function mergePatch(file: string, text: string, patch: string): PolicyEdit {
  const read = readYaml(file, text)
  if (!read.ok) return fail(read.problems[0]?.message ?? 'the file cannot be read')
  const wanted = readYaml('the patch', patch)
  if (!wanted.ok) return fail(`the patch cannot be read: ${wanted.problems[0]?.message ?? ''}`)
  const newLine = /\r\n/.test(text) ? '\r\n' : '\n'
  const unified = text.replaceAll('\r\n', '\n')
  const target = parseDocument(unified, { schema: 'core', merge: false, uniqueKeys: false }).contents
  const more = parseDocument(patch, { schema: 'core', merge: false, uniqueKeys: false }).contents
  if (!isMap(target) || !isMap(more)) return fail('a policy is a block of keys')
  const changes: Change[] = []
  mergeNodes(target, more, { text: unified, indent: 0, inFlow: false }, changes)
  const edited = applied(unified, changes)
  const meant = mergedValue(read.source.value, wanted.source.value)
  const check = readYaml(file, edited)
  // The edit is made from places in a text; that it means what it should is not believed but read back.
  if (!check.ok || !isDeepEqual(check.source.value, meant))
    return fail('this file is written in a way that cannot be edited safely: add the lines by hand')
  return { ok: true, text: edited.replaceAll('\n', newLine), changed: edited !== unified }
}

function fail(problem: string): PolicyEdit {
  return { ok: false, problem }
}

/** The merge on plain values: what the edited text must mean. */
export function mergedValue(base: unknown, more: unknown): unknown {
  if (Array.isArray(more) && base !== null && base !== undefined && !isBlock(base)) {
    const before: readonly unknown[] = Array.isArray(base) ? base : [base]
    const news: readonly unknown[] = more.filter(entry => !before.some(own => isDeepEqual(own, entry)))
    return news.length === 0 ? base : [...before, ...news]
  }
  if (!isBlock(base) || !isBlock(more)) return more
  const out: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(more))
    out[key] = Object.hasOwn(base, key) ? mergedValue(base[key], value) : value
  return out
}

function isBlock(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether two values of JSON are the same; the order of keys does not count. */
function isDeepEqual(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((entry, index) => isDeepEqual(entry, b[index]))
  if (!isBlock(a) || !isBlock(b)) return Object.is(a, b)
  const keys = Object.keys(a)
  return (
    keys.length === Object.keys(b).length &&
    keys.every(key => Object.hasOwn(b, key) && isDeepEqual(a[key], b[key]))
  )
}

function mergeNodes(target: Node, more: Node, place: Place, changes: Change[]): void {
  if (isMap(target) && isMap(more)) return mergeMaps(target.items, target, more.items, place, changes)
  if (isSeq(target) && isSeq(more)) return lengthen(target, more.items as readonly Node[], place, changes)
  if (isSeq(more) && isScalar(target)) {
    const before = valueOf(target)
    const items = (more.items as readonly Node[]).filter(item => !isDeepEqual(valueOf(item), before))
    if (items.length > 0) replace(target, `[${[target, ...items].map(flowText).join(', ')}]`, changes)
    return
  }
  if (!isDeepEqual(valueOf(target), valueOf(more))) replace(target, flowText(more), changes)
}

function mergeMaps(
  items: readonly Pair[],
  target: Node,
  more: readonly Pair[],
  place: Place,
  changes: Change[],
): void {
  const flow = isCollection(target) && target.flow === true
  const [first] = items
  const indent = flow || first === undefined ? place.indent : columnOf(place.text, startOf(first.key))
  const inside: Place = { ...place, indent, inFlow: flow || place.inFlow }
  const missing: Pair[] = []
  for (const pair of more) {
    const existing = items.find(item => wordOf(item.key) === wordOf(pair.key))
    if (existing === undefined) missing.push(pair)
    else mergePair(existing, pair.value as Node, inside, changes)
  }
  if (missing.length === 0) return
  if (flow) {
    const texts = missing.map(pair => `${keyText(pair.key)}: ${flowText(pair.value as Node)}`)
    return extendFlow(target, items.length === 0, texts, ['{', '}'], changes)
  }
  const lines = missing.flatMap(pair => linesOf(keyText(pair.key), pair.value as Node, indent))
  if (indent > 0) return insertLines(place.text, endOf(target), lines, changes)
  // A new section comes last of all, behind comments that stand there, and apart.
  const apart = place.text.endsWith('\n\n') ? lines : ['', ...lines]
  insertLines(place.text, place.text.length, apart, changes)
}

function mergePair(existing: Pair, more: Node, place: Place, changes: Change[]): void {
  const { value } = existing
  const isNothing = value === null || (isScalar(value) && value.value === null)
  const isEmptyFlow = isCollection(value) && value.items.length === 0
  const wantsBlock = isCollection(more) && more.flow !== true
  const isSameKind = (isMap(value) && isMap(more)) || (isSeq(value) && isSeq(more))
  const isOtherKind = isCollection(value) && value.flow !== true && !isSameKind
  if (!isNothing && !isOtherKind && !(isEmptyFlow && wantsBlock && !place.inFlow))
    return mergeNodes(value as Node, more, place, changes)
  const colon = place.text.indexOf(':', endOf(existing.key)) + 1
  const end = isWritten(value) ? Math.max(colon, endOf(value)) : colon
  if (place.inFlow || !wantsBlock) return void changes.push({ at: colon, end, text: ` ${flowText(more)}` })
  // `key:` or `key: {}`: what stood there goes, the block comes below.
  if (end > colon) changes.push({ at: colon, end, text: '' })
  insertLines(place.text, end, linesOf(keyText(existing.key), more, place.indent).slice(1), changes)
}

function lengthen(target: Node, items: readonly Node[], place: Place, changes: Change[]): void {
  if (!isSeq(target)) return
  const own = target.items as readonly Node[]
  const known = own.map(valueOf)
  const news = items.filter(item => !known.some(value => isDeepEqual(value, valueOf(item))))
  const [firstItem] = own
  if (news.length === 0) return
  if (target.flow === true || firstItem === undefined)
    return extendFlow(target, own.length === 0, news.map(flowText), ['[', ']'], changes)
  // Dashes stand in front of the items.
  const dash = place.text.lastIndexOf('-', startOf(firstItem) - 1)
  const indent = columnOf(place.text, dash)
  insertLines(
    place.text,
    endOf(target),
    news.flatMap(item => linesOf(null, item, indent)),
    changes,
  )
}

function extendFlow(
  target: Node,
  isEmpty: boolean,
  texts: readonly string[],
  [open, close]: readonly [string, string],
  changes: Change[],
): void {
  const joined = texts.join(', ')
  if (isEmpty) return replace(target, open === '{' ? `{ ${joined} }` : `${open}${joined}${close}`, changes)
  const last = isCollection(target) ? target.items.at(-1) : undefined
  const node = (isPairLike(last) ? (last.value ?? last.key) : last) as Node
  const at = endOf(node)
  changes.push({ at, end: at, text: `, ${joined}` })
}

function isPairLike(item: unknown): item is Pair {
  return typeof item === 'object' && item !== null && 'key' in item && 'value' in item
}

function replace(node: Node, text: string, changes: Change[]): void {
  changes.push({ at: startOf(node), end: endOf(node), text })
}

/** Puts lines behind the line in which something ends. */
function insertLines(text: string, end: number, lines: Lines, changes: Change[]): void {
  const block = lines.map(line => `${line}\n`).join('')
  if (end > 0 && text[end - 1] === '\n') return void changes.push({ at: end, end, text: block })
  const lineEnd = text.indexOf('\n', end)
  if (lineEnd >= 0) changes.push({ at: lineEnd + 1, end: lineEnd + 1, text: block })
  else changes.push({ at: text.length, end: text.length, text: `\n${block}` })
}

/** Changes that begin at the same place stay in their order. */
function applied(text: string, changes: readonly Change[]): string {
  const ordered = changes
    .map((change, index) => ({ ...change, index }))
    .sort((a, b) => b.at - a.at || b.index - a.index)
  let out = text
  for (const { at, end, text: insert } of ordered) out = out.slice(0, at) + insert + out.slice(end)
  return out
}

/** Where the last thing of a node ends: comments behind it do not count. */
function endOf(node: unknown): number {
  if (isCollection(node) && node.flow !== true) {
    const last: unknown = node.items.at(-1)
    // Behind a key without a value stands its colon.
    if (isPairLike(last)) return isWritten(last.value) ? endOf(last.value) : endOf(last.key) + 1
    if (last !== undefined) return endOf(last)
  }
  return rangeOf(node)?.[1] ?? 0
}

/** A value that is not written at all is placed by the library behind the comments that follow. */
function isWritten(node: unknown): boolean {
  return node !== null && !(isScalar(node) && node.value === null && node.source === '')
}

function startOf(node: unknown): number {
  return rangeOf(node)?.[0] ?? 0
}

function rangeOf(node: unknown): readonly [number, number, number] | null {
  if (typeof node !== 'object' || node === null || !('range' in node)) return null
  return node.range as [number, number, number] | null
}

function columnOf(text: string, offset: number): number {
  return offset - (text.lastIndexOf('\n', offset - 1) + 1)
}

function wordOf(key: unknown): string {
  return isScalar(key) ? String(key.value) : ''
}

function valueOf(node: Node): unknown {
  return parse(flowText(node)) as unknown
}
