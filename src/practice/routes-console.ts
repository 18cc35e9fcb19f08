// The routes that people and integrations use: console page, SOAP endpoint and API.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { answer, answerJson, readBody, type Exchange } from './exchange.ts'
import { isBelow } from './routes-agent.ts'
import type { PracticeAgent, PracticeState } from './rmm-state.ts'

const MAX_BODY_BYTES = 10 * 2 ** 20
const MAX_TOKENS = 1_000
const TOKEN_MS = 3_600_000
const LISTED = 500

/** What the console routes know. */
export type ConsoleRoutes = {
  readonly state: PracticeState
  readonly clock: () => number
  readonly credentials: { readonly name: string; readonly password: string }
  /** Bearer tokens given out and when they end. */
  readonly tokens: Map<string, number>
}

/** Answers a console or API request; false when the path is none of theirs. */
export async function consoleRoute(exchange: Exchange, routes: ConsoleRoutes): Promise<boolean> {
  const { folded } = exchange
  if (folded === '/' || isBelow(folded, '/automate') || isBelow(folded, '/wcc2')) page(exchange, routes)
  else if (isBelow(folded, '/labtech/controlcenter.asmx')) await soap(exchange, routes)
  else if (folded === '/cwa/api/v1/apitoken') await giveToken(exchange, routes)
  else if (folded === '/cwa/api/v1/computers') computers(exchange, routes)
  else return false
  return true
}

function page(exchange: Exchange, { state, clock }: ConsoleRoutes): void {
  const stats = state.stats()
  const agents = [...state.agents()].sort((a, b) => b.lastCheckInMs - a.lastCheckInMs).slice(0, LISTED)
  const rows = agents.map(agent => {
    const seconds = Math.round((clock() - agent.lastCheckInMs) / 1000)
    const cells = [
      agent.name,
      state.isOnline(agent) ? 'online' : 'offline',
      agent.source,
      agent.peer,
      `${seconds} s ago`,
      agent.checkIns,
      agent.heartbeats,
    ]
    return `<tr>${cells.map(cell => `<td>${escapeHtml(String(cell))}</td>`).join('')}</tr>`
  })
  const html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Practice RMM — not a real product</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
.note { background: #fff3cd; color: #4d3b00; padding: .5rem 1rem }
table { border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .5rem; text-align: left }
</style>
<h1>Practice RMM</h1>
<p class="note">This is a stand-in for demonstrations and tests. It manages nothing and is not a real product.</p>
<p id="summary">${stats.agentsOnline} of ${stats.agents} agents online, ${stats.checkIns} check-ins, ${stats.heartbeats} heartbeats,
${stats.webSocketsOpen} WebSockets open. You come from <strong id="source">${escapeHtml(exchange.source)}</strong>.</p>
<table>
<thead><tr><th>Agent</th><th>State</th><th>Source address</th><th>Peer</th><th>Last check-in</th><th>Check-ins</th><th>Heartbeats</th></tr></thead>
<tbody>${rows.join('\n')}</tbody>
</table>
</html>
`
  answer(exchange, 200, 'text/html', html, {
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  })
}

async function soap(exchange: Exchange, { state }: ConsoleRoutes): Promise<void> {
  const { method } = exchange.request
  if (method === 'GET' || method === 'HEAD') {
    return answer(
      exchange,
      200,
      'text/html',
      '<title>Practice RMM SOAP endpoint — not a real product</title>\n',
    )
  }
  const body = await readBody(exchange.request, MAX_BODY_BYTES)
  if (body === undefined) {
    return answer(exchange, 413, 'text/plain', 'too large\n', { connection: 'close' })
  }
  const action = /<(?:soap:|s:|soapenv:)?Body>\s*<(?:\w{1,32}:)?(\w{1,64})/.exec(body.toString('utf8'))?.[1]
  const inner =
    action === undefined
      ? '<soap:Fault><faultcode>soap:Client</faultcode><faultstring>no SOAP body</faultstring></soap:Fault>'
      : `<${action}Response xmlns="urn:practice-rmm"><agents>${state.stats().agents}</agents><bytes>${body.length}</bytes></${action}Response>`
  answer(
    exchange,
    action === undefined ? 500 : 200,
    'text/xml',
    `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>${inner}</soap:Body></soap:Envelope>\n`,
  )
}

async function giveToken(exchange: Exchange, { credentials, tokens, clock }: ConsoleRoutes): Promise<void> {
  if (exchange.request.method !== 'POST') {
    return answer(exchange, 405, 'text/plain', 'POST\n', { allow: 'POST' })
  }
  const body = await readBody(exchange.request, 65_536)
  const given = body === undefined ? {} : jsonObject(body.toString('utf8'))
  const isRight =
    sameSecret(given['UserName'], credentials.name) && sameSecret(given['Password'], credentials.password)
  if (!isRight) return answerJson(exchange, 401, { Message: 'user name or password is wrong' })
  const token = randomBytes(24).toString('base64url')
  if (tokens.size >= MAX_TOKENS) tokens.delete(tokens.keys().next().value ?? '')
  tokens.set(token, clock() + TOKEN_MS)
  answerJson(exchange, 200, {
    AccessToken: token,
    TokenType: 'Bearer',
    ExpirationDate: new Date(clock() + TOKEN_MS).toISOString(),
  })
}

function computers(exchange: Exchange, { state, tokens, clock }: ConsoleRoutes): void {
  const bearer = /^Bearer (\S+)$/i.exec(exchange.request.headers.authorization ?? '')?.[1]
  if (bearer === undefined || (tokens.get(bearer) ?? 0) <= clock()) {
    return answerJson(exchange, 401, { Message: 'a bearer token is needed' })
  }
  const condition = exchange.query.get('condition')
  const fits = condition === null ? () => true : conditionOf(condition)
  if (fits === undefined) {
    return answerJson(exchange, 400, { Message: "conditions are: Id|ComputerName =|contains 'text'" })
  }
  const found = state.agents().filter(fits).slice(0, LISTED)
  answerJson(
    exchange,
    200,
    found.map(agent => ({
      Id: agent.id,
      ComputerName: agent.name,
      LocalIPAddress: agent.source,
      Status: state.isOnline(agent) ? 'Online' : 'Offline',
      RemoteAgentLastContact: new Date(agent.lastCheckInMs).toISOString(),
    })),
  )
}

function conditionOf(text: string): ((agent: PracticeAgent) => boolean) | undefined {
  const parts = /^\s*(Id|ComputerName)\s*(=|contains)\s*['"]([^'"]{0,64})['"]\s*$/i.exec(text)
  if (parts === null) return undefined
  const [, field = '', operator = '', wanted = ''] = parts
  return agent => {
    const value = field.toLowerCase() === 'id' ? agent.id : agent.name
    return operator === '=' ? value === wanted : value.includes(wanted)
  }
}

function jsonObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

function sameSecret(given: unknown, wanted: string): boolean {
  if (typeof given !== 'string') return false
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(wanted))
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, character => `&#${character.charCodeAt(0)};`)
}
