// The list of agents that an RMM exports: how many agents are behind which public address.
import { readFileSync, statSync } from 'node:fs'
import { parseAddress } from '../net/address.ts'
import { usageError } from './command.ts'
import { CSV_LIMITS, readCsv } from './csv.ts'

/** Agents by public address. */
export type AgentList = {
  readonly agents: ReadonlyMap<string, number>
  /** Rows without a usable public address. */
  readonly unusable: number
  readonly column: string
}

const LIKELY = [/router|public|wan|external/i, /^ip|ip$|\bip\b|address/i]

/** Reads a CSV file, or a plain list with an address per line. @throws PortcullisError `usage` */
export function readAgentList(file: string, column: string | undefined): AgentList {
  let text: string
  try {
    if (statSync(file).size > CSV_LIMITS.bytes)
      throw usageError(
        `${file} has more than ${CSV_LIMITS.bytes / 1_048_576} MiB`,
        'Export only the column with the public address.',
      )
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'remedy' in cause) throw cause
    throw usageError(
      `${file} cannot be read: ${(cause as Error).message}`,
      'Name the CSV file that the RMM has exported.',
    )
  }
  const rows = readCsv(text)
  if (!Array.isArray(rows)) {
    const { row, message } = rows as { readonly row: number; readonly message: string }
    throw usageError(`${file}:${row}: ${message}`, 'Save it as plain CSV.')
  }
  const table = rows as readonly (readonly string[])[]
  const [head = []] = table
  const hasHead = column !== undefined || !head.some(cell => parseAddress(cell) !== undefined)
  const index = hasHead
    ? columnOf(head, table, column, file)
    : head.findIndex(cell => parseAddress(cell) !== undefined)
  const agents = new Map<string, number>()
  let unusable = 0
  for (const row of hasHead ? table.slice(1) : table) {
    // Exports write several addresses into a cell at times: the first one counts.
    const address = parseAddress((row[index] ?? '').split(/[\s,;]/)[0] ?? '')
    if (address === undefined) unusable++
    else agents.set(address.text, (agents.get(address.text) ?? 0) + 1)
  }
  if (agents.size === 0)
    throw usageError(
      `${file} has no addresses in column ${head[index] ?? index + 1}`,
      'Name the column with --column.',
    )
  return { agents, unusable, column: hasHead ? (head[index] ?? '') : `column ${index + 1}` }
}

function columnOf(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  wanted: string | undefined,
  file: string,
): number {
  const names = head.map(cell => cell.toLowerCase())
  if (wanted !== undefined) {
    const index = names.indexOf(wanted.toLowerCase())
    if (index >= 0) return index
    throw usageError(`${file} has no column "${wanted}"`, `It has: ${head.slice(0, 12).join(', ')}.`)
  }
  const holdsAddresses = (index: number): boolean =>
    rows.slice(1, 50).some(row => parseAddress((row[index] ?? '').split(/[\s,;]/)[0] ?? '') !== undefined)
  for (const pattern of LIKELY) {
    const index = head.findIndex((cell, at) => pattern.test(cell) && holdsAddresses(at))
    if (index >= 0) return index
  }
  throw usageError(
    `${file} has no column that looks like the public address`,
    `Name it with --column; there are: ${head.slice(0, 12).join(', ')}.`,
  )
}
