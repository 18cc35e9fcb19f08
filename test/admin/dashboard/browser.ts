// A real Chromium before the dashboard of a real gate, with accounts, customers, refusals and texts that an attacker has written.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import {
  chromium,
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Page,
} from 'playwright-core'
import { ACCESS_FILE } from '../../../src/access/access-file.ts'
import { addOperator } from '../../../src/access/edit.ts'
import type { Role } from '../../../src/access/access.ts'
import { startRunningBench, type RunningBench } from '../../cli/support.ts'

const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** Whether there is a browser to test with. */
export const hasChromium = existsSync(CHROMIUM)

/** The checker of accessibility, as a script for pages. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Every operator's password. */
export const PASSWORD = 'a long password of a test'

/** What runs in a page when a text of an attacker becomes markup. */
export const MARKUP = '<img src=x data-pwned onerror=window.pwned=1>'
/** The same where quotes would end an attribute. */
export const QUOTED = `"'><svg/onload=window.pwned=2 data-pwned>`

/** Everything of one test. */
export type DashboardLab = RunningBench & {
  readonly origin: string
  readonly browser: Browser
  /** A browser of its own, nobody logged in. */
  readonly open: (options?: BrowserContextOptions) => Promise<WatchedContext>
  /** A browser with an operator. */
  readonly openAs: (operator: string, options?: BrowserContextOptions) => Promise<WatchedContext>
}

/** A browser that remembers what pages were refused by their own policy, and what went wrong in them. */
export type WatchedContext = {
  readonly context: BrowserContext
  readonly page: Page
  readonly complaints: string[]
}

const POLICY = `
trial: { expires: ${new Date(Date.now() + 20 * 86_400_000).toISOString().slice(0, 10)}, stages: tls }
dashboard: { address: '127.0.0.1:0' }
trusted:
  - { address: 198.51.100.200, note: Head office }
sites:
  acme:
    name: Acme Dental ${MARKUP}
    addresses: [8.8.4.0/28]
  other: { name: Other GmbH, addresses: [8.8.4.16/28] }
bans:
  - { address: 203.0.113.66, reason: '${MARKUP.replaceAll("'", '')}', owner: jane }
`

/** Starts gate, RMM server, dashboard and browser, and sends some traffic. All are gone after the test. */
export async function startDashboardLab(t: ExecutionContext, more = ''): Promise<DashboardLab> {
  const bench = await startRunningBench(t, more === '' ? POLICY : `${POLICY}${more}`)
  const endpoint = bench.portcullis.dashboardEndpoint()
  if (endpoint === null) throw new Error('the dashboard is not open')
  const origin = `https://127.0.0.1:${endpoint.port}`
  await addOperators(bench)
  await sendTraffic(bench)
  const browser = await openChromium()
  t.teardown(() => browser.close())
  const open: DashboardLab['open'] = async options => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: origin, ...options })
    const complaints: string[] = []
    const page = await context.newPage()
    page.setDefaultTimeout(10_000)
    page.on('console', message => {
      if (message.type() === 'error') complaints.push(message.text())
    })
    page.on('pageerror', error => complaints.push(String(error)))
    page.on('dialog', dialog => {
      complaints.push(`dialog: ${dialog.message()}`)
      void dialog.dismiss()
    })
    return { context, page, complaints }
  }
  return {
    ...bench,
    origin,
    browser,
    open,
    openAs: async (operator, options) => {
      const watched = await open(options)
      await logIn(watched.page, operator)
      return watched
    },
  }
}

/** Starts the browser. */
export function openChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
}

/** Logs in by the form, from wherever the page is. */
export async function logIn(page: Page, operator: string, password = PASSWORD): Promise<void> {
  await page.goto('/login')
  await page.fill('input[name=name]', operator)
  await page.fill('input[name=password]', password)
  await page.click('button.primary')
  await page.waitForLoadState()
}

async function addOperators({ root, portcullis, nowMs }: RunningBench): Promise<void> {
  const file = join(root, 'var', ACCESS_FILE)
  const roles: readonly (readonly [string, Role, readonly string[] | null])[] = [
    ['jane', 'admin', null],
    ['vi', 'viewer', null],
    ['limited', 'support', ['other']],
  ]
  for (const [name, role, sites] of roles)
    await addOperator(file, PASSWORD, { name, role, sites, keys: null }, nowMs())
  const result = await portcullis.reload('command')
  if (!result.ok) throw new Error(result.problems.join('\n'))
}

/** Agents of two customers, refusals, rule hits, and everything that a client can write into the journal. */
async function sendTraffic({ ask, send, cli }: RunningBench): Promise<void> {
  const agent = { headers: { 'user-agent': 'LabTech Agent' } }
  for (const source of ['8.8.4.3', '8.8.4.17', '8.8.8.8']) await ask(source, agent)
  await ask('8.8.4.3', {
    path: `/x?file=../../windows/win.ini`,
    headers: { 'user-agent': MARKUP, referer: QUOTED },
  })
  await ask('8.8.4.17', {
    path: `/${encodeURI(MARKUP)}/../../windows/win.ini`,
    headers: { 'user-agent': QUOTED },
  })
  await ask('8.8.4.3', { host: 'evil--script.example', path: `/${QUOTED.replaceAll(' ', '%20')}` })
  await ask('8.8.4.17', { path: '/x?file=../../windows/win.ini', headers: { 'user-agent': QUOTED } })
  await ask('5.255.255.5', { path: `/LabTech/Agent.aspx?${MARKUP.replaceAll(' ', '+')}` })
  await ask('203.0.113.66', {})
  await send('8.8.4.3', `GET /${MARKUP} HTTP/1.1\r\n\r\n`)
  await ask('8.8.4.3', { serverName: 'img-src-x-onerror.example' })
  const words = ['allow', '198.51.100.99', '--reason', MARKUP, '--owner', QUOTED, '--for', '7d']
  const { code, err } = await cli(words)
  if (code !== 0) throw new Error(err)
}

/** What axe finds wrong with a page. */
export async function accessibilityProblems(
  page: Page,
  rules?: readonly string[],
): Promise<readonly string[]> {
  if (!(await page.evaluate<boolean>('typeof axe === "object"'))) await page.evaluate(AXE)
  const only = rules === undefined ? {} : { runOnly: { type: 'rule', values: rules } }
  const { violations } = await page.evaluate<{
    readonly violations: readonly {
      readonly id: string
      readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[]
    }[]
  }>(`axe.run(document, ${JSON.stringify({ resultTypes: ['violations'], ...only })})`)
  return violations.flatMap(({ id, nodes }) =>
    nodes
      .slice(0, 3)
      .map(
        node =>
          `${new URL(page.url()).pathname}: ${id}: ${node.html.slice(0, 160)} ${node.failureSummary ?? ''}`,
      ),
  )
}

/**
 * Every page that links lead to from the start page, a few of each kind.
 * @param look called on each of them
 */
export async function walk(
  page: Page,
  perKind: number,
  look: (path: string) => Promise<void> = () => Promise.resolve(),
): Promise<readonly string[]> {
  return follow(perKind, async path => {
    const response = await page.goto(path)
    if (response?.headers()['content-type']?.startsWith('text/html') !== true) return null
    const links = await page.$$eval('a[href]', anchors =>
      anchors.map(anchor => anchor.getAttribute('href') ?? ''),
    )
    await look(path)
    return links
  })
}

/** The same without drawing any of them: what the server says to whoever is logged in there. */
export async function crawl(
  { request }: BrowserContext,
  perKind: number,
  look: (path: string, text: string) => void,
): Promise<readonly string[]> {
  return follow(perKind, async path => {
    const response = await request.get(path)
    if (response.headers()['content-type']?.startsWith('text/html') !== true) return null
    const text = await response.text()
    look(path, text)
    return [...text.matchAll(/<a\s[^>]*?href="([^"]*)"/g)].map(([, href = '']) =>
      href.replaceAll('&amp;', '&'),
    )
  })
}

/** @param visit links of a page; null: it is none */
async function follow(
  perKind: number,
  visit: (path: string) => Promise<readonly string[] | null>,
): Promise<readonly string[]> {
  const here = 'https://dashboard.invalid'
  const seen = new Set<string>()
  const kinds = new Map<string, number>()
  const waiting = ['/']
  const walked: string[] = []
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const links = await visit(path)
    if (links === null) continue
    walked.push(path)
    for (const link of links) {
      const url = new URL(link, `${here}${path}`)
      const kind = kindOf(url)
      const target = `${url.pathname}${url.search}`
      if (url.origin !== here || url.hash !== '' || seen.has(target)) continue
      const known = kinds.get(kind) ?? 0
      if (known >= perKind) continue
      kinds.set(kind, known + 1)
      seen.add(target)
      if (target !== '/') waiting.push(target)
    }
  }
  return walked
}

/** Where the keyboard stood after each press of Tab, and what is wrong with it. */
export type KeyboardWalk = { readonly stops: readonly string[]; readonly problems: readonly string[] }

/** Follows the focus of a page: each stop must be seen, in the order of the page, and everything must be reached. */
const WATCH_FOCUS = `(() => {
  const canFocus = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]'
  const isSeen = element => element.checkVisibility({ visibilityProperty: true }) && !element.disabled
  const all = [...document.querySelectorAll(canFocus)].filter(isSeen)
  const nameOf = element =>
    (element.tagName + ' ' + (element.getAttribute('aria-label') ?? element.name ?? '') + ' ' + element.textContent.trim()).slice(0, 60)
  const walk = (window.walk = { stops: [], problems: [], wanted: all.length, last: -1 })
  document.addEventListener('focusin', ({ target }) => {
    walk.stops.push(nameOf(target))
    const at = all.indexOf(target)
    // Only the main part is focused without being a stop: the skip link leads there.
    if (at === -1 && target.tagName !== 'MAIN') walk.problems.push('not meant to be a stop: ' + nameOf(target))
    else if (at !== -1 && at < walk.last) walk.problems.push('out of order: ' + nameOf(target))
    walk.last = Math.max(walk.last, at)
    const style = getComputedStyle(target)
    const shape = target.querySelector(':scope > rect')
    const isMarked = shape !== null
      ? parseFloat(getComputedStyle(shape).strokeWidth) >= 2
      : style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
    if (target.tagName !== 'MAIN' && !isMarked)
      walk.problems.push('focus cannot be seen: ' + nameOf(target))
    const box = target.getBoundingClientRect()
    const inner = { x: box.x + Math.min(box.width, innerWidth) / 2, y: box.y + Math.min(box.height, 40) / 2 }
    const top = document.elementFromPoint(inner.x, inner.y)
    if (target.tagName !== 'MAIN' && box.height < innerHeight && (top === null || !(target.contains(top) || top.contains(target))))
      walk.problems.push('covered or out of sight: ' + nameOf(target))
  })
})()`

/** Presses Tab from the beginning of a page to its end. */
export async function tabThrough(page: Page, path: string): Promise<KeyboardWalk> {
  await page.goto(path)
  await page.evaluate(WATCH_FOCUS)
  const wanted = await page.evaluate<number>('walk.wanted')
  for (let press = 0; press < wanted; press++) await page.keyboard.press('Tab')
  const { stops, problems, last } = await page.evaluate<KeyboardWalk & { last: number }>('walk')
  const end = last === wanted - 1 ? [] : [`${wanted - 1 - last} of ${wanted} stops were not reached`]
  return { stops, problems: [...problems, ...end].map(problem => `${path}: ${problem}`) }
}

/** Pages of one kind differ by the last parts of their path and by the values of their query. */
function kindOf(url: URL): string {
  const parts = url.pathname.split('/')
  return `${parts.slice(0, 2).join('/')} ${parts.length} ${url.search === '' ? '' : 'query'}`
}

/** Where screenshots go when somebody wants to look at them. */
export async function screenshot(page: Page, name: string): Promise<void> {
  const directory = process.env['PORTCULLIS_SCREENSHOTS']
  if (directory === undefined) return
  mkdirSync(directory, { recursive: true })
  await page.screenshot({
    path: join(directory, `${name.replaceAll(/[^\w-]+/g, '_').slice(0, 80)}.png`),
    fullPage: true,
  })
}
