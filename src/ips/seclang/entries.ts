// Which of the files of a rule set are read, and in which order.
import type { SecFiles } from './parse.ts'

/**
 * Settings come first (`crs-setup.conf`, or its example when there is no own), then the rule files by name. Other examples and
 * data files are not read by themselves.
 */
export function entriesOf(files: SecFiles): {
  readonly setup: readonly string[]
  readonly rules: readonly string[]
} {
  const names = [...files.keys()].sort()
  const own = names.filter(name => /(?:^|\/)crs-setup\.conf$/.test(name))
  const setup = own.length > 0 ? own : names.filter(name => /(?:^|\/)crs-setup\.conf\.example$/.test(name))
  return { setup, rules: names.filter(name => name.endsWith('.conf') && !setup.includes(name)) }
}
