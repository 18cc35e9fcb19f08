// What an agent's check-in says, in any of the spellings that agents of the field use: XML, form fields, JSON or the query.

/** A check-in as it was understood. */
export type CheckIn = { readonly id: string; readonly name: string }

/** Longest check-in that is read. */
export const MAX_CHECK_IN_BYTES = 1 << 20

/**
 * Reads a check-in. The body's own first character decides its spelling, because agents are careless about Content-Type.
 * @returns undefined when it names no agent
 */
export function parseCheckIn(body: string, query: URLSearchParams): CheckIn | undefined {
  const text = body.trimStart()
  const fields =
    text === ''
      ? query
      : text.startsWith('<')
        ? xmlFields(text)
        : text.startsWith('{')
          ? jsonFields(text)
          : new URLSearchParams(text)
  const id = fields.get('id') ?? fields.get('agentid') ?? fields.get('computerid') ?? query.get('id')
  if (id === null || id === undefined || !isAgentId(id)) return undefined
  return { id, name: (fields.get('name') ?? id).slice(0, 64) }
}

/** Whether the text can name an agent. */
export function isAgentId(text: string): boolean {
  return /^[A-Za-z0-9._-]{1,64}$/.test(text)
}

function xmlFields(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (const [, name = '', value = ''] of text.matchAll(/<(\w{1,32})>([^<]{0,256})<\//g)) {
    fields.set(name.toLowerCase(), value.trim())
  }
  return fields
}

function jsonFields(text: string): Map<string, string> {
  const fields = new Map<string, string>()
  try {
    const document: unknown = JSON.parse(text)
    if (typeof document !== 'object' || document === null) return fields
    for (const [name, value] of Object.entries(document)) {
      if (typeof value === 'string' || typeof value === 'number')
        fields.set(name.toLowerCase(), String(value))
    }
  } catch {
    // Not JSON: then it names no agent either.
  }
  return fields
}
