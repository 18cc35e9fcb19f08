// Takes a key out of the text of a policy file: every other line stays as it is, comments and all.
import { isCollection, isMap, isScalar, parseDocument } from 'yaml'
import type { PolicyEdit } from './edit-policy.ts'
import { readYaml } from './read.ts'

/**
 * Removes a key of the top level with its value. What comes out means the same policy without it, or nothing is changed.
 * @param file name for messages
 */
export function removeKey(file: string, text: string, key: string): PolicyEdit {
  const read = readYaml(file, text)
  if (!read.ok) return { ok: false, problem: read.problems[0]?.message ?? 'the file cannot be read' }
  const { value } = read.source
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key))
    return { ok: true, text, changed: false }
  const { contents } = parseDocument(text, { schema: 'core', merge: false, uniqueKeys: false })
  const pair = isMap(contents)
    ? contents.items.find(item => isScalar(item.key) && item.key.value === key)
    : undefined
  const start = isScalar(pair?.key) ? pair.key.range?.[0] : undefined
  const end = isScalar(pair?.value) || isCollection(pair?.value) ? pair.value.range?.[1] : undefined
  if (start !== undefined && end !== undefined) {
    const lineStart = text.lastIndexOf('\n', start - 1) + 1
    const newLine = text.indexOf('\n', Math.max(start, end - 1))
    const edited = text.slice(0, lineStart) + (newLine < 0 ? '' : text.slice(newLine + 1))
    const check = readYaml(file, edited)
    const { [key]: _gone, ...rest } = value as Readonly<Record<string, unknown>>
    // As with every edit: that it means what it should is read back, not believed.
    if (check.ok && JSON.stringify(check.source.value) === JSON.stringify(rest))
      return { ok: true, text: edited, changed: true }
  }
  return {
    ok: false,
    problem: `${key} is written in a way that cannot be taken out safely: remove the lines by hand`,
  }
}
