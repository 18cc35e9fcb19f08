// Requests that rules have to look into, each with content that no peer has seen before: console GET, agent XML, inventory JSON, base64 form.
import { HOST } from '../stage/namespace.ts'
import { openConnection } from './http-connection.ts'
import { FORM_TYPE, USER_AGENT } from './work.ts'

/** What kind of content. */
export type InspectedKind = 'get' | 'xml' | 'json' | 'form'

/** What a run did. */
export type InspectedResult = {
  readonly requests: number
  /** Answered with 403, although nothing is wrong with them. */
  readonly refused: number
  readonly failed: number
  readonly seconds: number
}

const WORDS =
  'office server backup printer account update monitor client report network driver service runtime viewer studio reader'.split(
    ' ',
  )

/** Numbers that differ from run to run are fine here: what counts is that no content comes twice. */
class Dice {
  private state: number

  constructor(seed: number) {
    this.state = seed >>> 0 || 1
  }

  next(below: number): number {
    // xorshift32
    this.state ^= this.state << 13
    this.state ^= this.state >>> 17
    this.state ^= this.state << 5
    return (this.state >>> 0) % below
  }

  word(): string {
    return WORDS[this.next(WORDS.length)] ?? 'office'
  }

  hex(digits: number): string {
    let text = ''
    while (text.length < digits) text += this.next(0x1_0000_0000).toString(16).padStart(8, '0')
    return text.slice(0, digits)
  }
}

/** The bytes of one request; `seed` decides its content. */
export function inspectedRequest(kind: InspectedKind, seed: number): string {
  const dice = new Dice(Math.imul(seed + 1, 0x9e37_79b1))
  switch (kind) {
    case 'get':
      return consoleGet(dice)
    case 'xml':
      return post(INVENTORY_PATH, 'text/xml; charset=utf-8', agentXml(dice))
    case 'json':
      return post(INVENTORY_PATH, 'application/json', inventoryJson(dice))
    case 'form':
      return post(INVENTORY_PATH, FORM_TYPE, base64Form(dice))
  }
}

const CONSOLE_PATH = '/cwa/api/v1/Computers'
/** Not an agent's path: the gate holds bodies of agents only where a rule names the path, and ModSecurity judges them all. */
const INVENTORY_PATH = '/cwa/api/v1/inventory'
/** Paths that the upstream of the bench must answer with 200. */
export const INSPECTED_PATHS: readonly string[] = [CONSOLE_PATH, INVENTORY_PATH]

function consoleGet(dice: Dice): string {
  const query = `pageSize=${dice.next(500)}&page=${dice.next(90)}&search=${dice.word()}+${dice.word()}+${dice.next(10_000)}&includeFields=Id,ComputerName,Client.Name&cache=${dice.hex(12)}`
  return (
    `GET ${CONSOLE_PATH}?${query} HTTP/1.1\r\nHost: ${HOST}\r\n` +
    'User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36\r\n' +
    'Accept: application/json, text/plain, */*\r\nAccept-Language: en-US,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n' +
    `Cookie: ASP.NET_SessionId=${dice.hex(24)}; theme=dark; lastView=${dice.word()}\r\n` +
    `Authorization: Bearer ${dice.hex(120)}\r\nReferer: https://${HOST}/automate/${dice.word()}\r\nX-Requested-With: XMLHttpRequest\r\n\r\n`
  )
}

function agentXml(dice: Dice): string {
  let rows = ''
  for (let row = 0; row < 24; row++) {
    rows += `<Sensor id="${dice.next(100_000)}" name="${dice.word()} ${dice.word()}"><Value>${dice.next(1_000_000)}</Value><Unit>${dice.word()}</Unit></Sensor>`
  }
  return `<?xml version="1.0" encoding="utf-8"?><CheckIn agent="${dice.hex(32)}" version="220.105">${rows}</CheckIn>`
}

function inventoryJson(dice: Dice): string {
  const software: object[] = []
  for (let row = 0; row < 34; row++) {
    software.push({
      name: `${dice.word()} ${dice.word()} ${2010 + dice.next(16)}`,
      version: `${dice.next(30)}.${dice.next(10)}.${dice.next(30_000)}`,
      vendor: `${dice.word()} Inc.`,
      installed: `2026-0${1 + dice.next(9)}-1${dice.next(9)}`,
      id: dice.hex(32),
    })
  }
  return JSON.stringify({ agent: dice.hex(32), computer: `PC-${dice.hex(6)}`, software })
}

function base64Form(dice: Dice): string {
  const bytes = Buffer.alloc(3_700)
  for (let at = 0; at + 4 <= bytes.length; at += 4) bytes.writeUInt32LE(dice.next(0xffff_ffff), at)
  return `computerid=${dice.next(100_000)}&type=eventlog&data=${encodeURIComponent(bytes.toString('base64'))}`
}

function post(path: string, type: string, body: string): string {
  return (
    `POST ${path} HTTP/1.1\r\nHost: ${HOST}\r\nUser-Agent: ${USER_AGENT}\r\nAccept: */*\r\n` +
    `Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
}

/** Sends requests as fast as they are answered. */
export async function inspectedLoad(
  kind: InspectedKind,
  options: { readonly port: number; readonly seconds: number; readonly connections: number },
): Promise<InspectedResult> {
  const connections = await Promise.all(
    Array.from({ length: options.connections }, () => openConnection(options.port)),
  )
  let seed = Math.floor(performance.timeOrigin + performance.now() * 1_000) >>> 0
  let requests = 0
  let refused = 0
  let failed = 0
  const startMs = performance.now()
  const endMs = startMs + options.seconds * 1_000
  await Promise.all(
    connections.map(async connection => {
      while (performance.now() < endMs) {
        seed = (seed + 1) >>> 0
        try {
          const status = await connection.exchange(inspectedRequest(kind, seed))
          requests++
          if (status === 403) refused++
          else if (status !== 200) failed++
        } catch {
          failed++
          return
        }
      }
    }),
  )
  for (const connection of connections) connection.socket.destroy()
  return { requests, refused, failed, seconds: (performance.now() - startMs) / 1_000 }
}
