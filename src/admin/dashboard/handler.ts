// Answers one request of the dashboard: host, origin, session, role, reach and token are checked here, once for all pages.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access, Operator } from '../../access/access.ts'
import type { EventFields, Reporter } from '../../journal/events.ts'
import { parseAddress } from '../../net/address.ts'
import { PortcullisError } from '../../policy/error.ts'
import { ASSET_PREFIX, type Assets } from './assets.ts'
import { clearCookie, readCookie, SESSION_COOKIE, setCookie, THEME_COOKIE } from './cookies.ts'
import { MAX_FORM_BYTES, readForm } from './form.ts'
import { isNamed, isOwnHost, isOwnOrigin } from './headers.ts'
import { html } from './html.ts'
import { framed, hasRole, isLimited, THEMES, type Theme } from './layout.ts'
import { loginPage, MAX_NAME, MAX_PASSWORD, refusalStatus, refusalText } from './login.ts'
import type { Page, PageAnswer, PageRoute } from './page.ts'
import { ownPath, sendHtml, sendRedirect, sendText, type MoreHeaders } from './reply.ts'
import { accountRoutes } from './pages/account.ts'
import type { PublishedWay } from './published.ts'
import { createRouter, type Match } from './router.ts'
import { createSessions, hasToken, type Session, type SessionLimits } from './sessions.ts'
import { createStreams } from './streams.ts'
import { notFound, refusedPage, wrongPasswordPage } from './standard-pages.ts'
import { viewOf, type ViewSources } from './view.ts'

/** What the dashboard stands on. */
export type DashboardParts = {
  readonly access: Access
  readonly sources: ViewSources
  readonly routes: readonly PageRoute[]
  readonly reporter: Reporter
  readonly clock: () => number
  readonly version: string
  readonly assets: Assets
  /** Host names beside addresses and `localhost`, lower case. */
  readonly names: () => ReadonlySet<string>
  readonly onInternalError: (where: string, cause: unknown) => void
  readonly sessionLimits?: SessionLimits
}

/** Answers requests. */
export type DashboardHandler = {
  /** @param way how the request came, when not straight to the dashboard's own address */
  readonly answer: (request: IncomingMessage, response: ServerResponse, way?: PublishedWay) => Promise<void>
  /** Ends all sessions and streams. */
  readonly close: () => void
}

const TEXT = 'text/plain; charset=utf-8'
const KEPT_FOR_A_YEAR = 'private, max-age=31536000, immutable'
/** Pages of one session that are made at the same time. */
const MAX_RUNNING = 8

/** What is known once a request has a session. */
type Visit = {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly url: URL
  readonly isOpen: () => boolean
  readonly session: Session
  readonly operator: Operator
}

/** Makes the handler. @throws Error when routes collide or a file for browsers is missing */
export function createDashboardHandler(parts: DashboardParts): DashboardHandler {
  const { access, reporter, clock, assets } = parts
  const running = new Map<string, number>()
  const streams = createStreams()
  const sessions = createSessions(
    clock,
    (session, why) => {
      streams.end(session)
      const { operator, address, handle, startedMs } = session
      const durationMs = Math.max(0, clock() - startedMs)
      reporter.report('dashboard.session-ended', { operator, address, handle, why, durationMs })
    },
    parts.sessionLimits,
  )
  const stopListening = access.onChange(change =>
    sessions.endOperators([...change.operatorsChanged, ...change.operatorsRemoved], 'operator-changed'),
  )

  const routes = [
    ...parts.routes,
    ...accountRoutes({
      sessions: ({ name }) => sessions.ofOperator(name),
      endAll: ({ name }) => {
        const { length } = sessions.ofOperator(name)
        sessions.endOperators([name], 'logged-out')
        return length
      },
    }),
  ]
  const router = createRouter(routes)

  /** The session of a request, if its operator is still the one who logged in. */
  const visitor = (request: IncomingMessage): { session: Session; operator: Operator } | undefined => {
    const secret = readCookie(request.headers.cookie, SESSION_COOKIE)
    const renewsItself = request.headers['x-portcullis-renew'] !== undefined
    const session = secret === undefined ? undefined : sessions.find(secret, !renewsItself)
    if (session === undefined) return undefined
    const operator = access.operator(session.operator)
    if (operator === undefined || operator.createdMs !== session.operatorCreatedMs) {
      sessions.end(session, 'operator-changed')
      return undefined
    }
    return { session, operator }
  }

  const refuse = (
    visit: Visit,
    why: EventFields['dashboard.refused']['why'],
    page: Omit<Page, 'kind'>,
  ): void => {
    const { operator, session, request, url } = visit
    const what = `${request.method ?? ''} ${url.pathname}`.slice(0, 200)
    reporter.report('dashboard.refused', { operator: operator.name, address: session.address, what, why })
    sendPage(visit, 403, page)
  }

  const sendPage = (visit: Visit, status: number, page: Omit<Page, 'kind'>): void => {
    const { session, operator, url, request, response } = visit
    const body = framed(page, {
      assets,
      routes,
      version: parts.version,
      operator,
      theme: themeOf(request),
      here: `${url.pathname}${url.search}`,
      csrf: csrfField(session),
      notice: sessions.takeNotice(session),
    })
    sendHtml(response, status, body)
  }

  const showLogin = (
    request: IncomingMessage,
    response: ServerResponse,
    status: number,
    next: string,
    problem: string | null,
    more: MoreHeaders = {},
  ): void => {
    const hasOperators = access.operators().length > 0
    const page = loginPage({ assets, theme: themeOf(request), next, problem, hasOperators })
    sendHtml(response, status, page, more)
  }

  const logIn = async (
    request: IncomingMessage,
    response: ServerResponse,
    address: string,
  ): Promise<void> => {
    const read = await readForm(request, MAX_FORM_BYTES)
    if (!read.ok) return sendText(response, read.status, TEXT, 'this is not the login form\n')
    const next = ownPath(read.form.get('next'))
    const name = read.form.get('name')?.trim() ?? ''
    const password = read.form.get('password') ?? ''
    const fits = name !== '' && name.length <= MAX_NAME && password.length <= MAX_PASSWORD
    const check = fits
      ? await access.checkOperator(name, password, address)
      : ({ ok: false, why: 'unknown', retryAfterMs: null } as const)
    if (!check.ok) {
      const why = check.why === 'unknown' ? 'wrong' : check.why
      // What was typed as a name might be a password: only names that exist are written down.
      reporter.report('dashboard.login-refused', {
        operator: access.operator(name)?.name ?? null,
        address,
        why,
      })
      const { status, headers } = refusalStatus(check)
      return showLogin(request, response, status, next, refusalText(check), headers)
    }
    // A session that the browser had before must not outlive the login, whoever gave it to the browser.
    const before = visitor(request)
    if (before !== undefined) sessions.end(before.session, 'login')
    const { secret, session } = sessions.start(check.operator, address)
    reporter.report('dashboard.login', { operator: check.operator.name, address, handle: session.handle })
    sendRedirect(response, next, { 'set-cookie': setCookie(SESSION_COOKIE, secret) })
  }

  const logOut = ({ session, response }: Visit): void => {
    sessions.end(session, 'logged-out')
    sendRedirect(response, '/login', {
      'set-cookie': clearCookie(SESSION_COOKIE),
      // What a shared browser has kept of these pages goes, too.
      'clear-site-data': '"cache"',
    })
  }

  const setTheme = ({ response }: Visit, form: URLSearchParams): void => {
    const theme = THEMES.find(entry => entry === form.get('theme')) ?? 'auto'
    sendRedirect(response, ownPath(form.get('next')), {
      'set-cookie': setCookie(THEME_COOKIE, theme, 365 * 86_400),
    })
  }

  /** Why this operator may not open this route; null: nothing is against it. */
  const objection = (
    operator: Operator,
    { route, params }: Match,
  ): EventFields['dashboard.refused']['why'] | null => {
    if (!hasRole(operator, route.role)) return 'role'
    if (route.reach === 'gate' && isLimited(operator)) return 'reach'
    const { site } = params
    const sees = site === undefined || operator.sites === null || operator.sites.includes(site)
    return sees ? null : 'site'
  }

  const runRoute = async (visit: Visit, match: Match, form: URLSearchParams): Promise<void> => {
    const { session, operator, url, response } = visit
    const { route } = match
    const busy = running.get(session.handle) ?? 0
    if (busy >= MAX_RUNNING) {
      return sendText(response, 429, TEXT, 'too many pages of this session are being made at once\n', {
        'retry-after': '1',
      })
    }
    running.set(session.handle, busy + 1)
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    const audit = (outcome: EventFields['dashboard.changed']['outcome'], target = ''): void => {
      if (route.method !== 'POST') return
      const { action } = route
      const { address } = session
      reporter.report('dashboard.changed', { operator: operator.name, address, action, target, outcome })
    }
    let answer: PageAnswer
    try {
      answer = await route.run({
        view: viewOf(operator, parts.sources),
        params: match.params,
        query: url.searchParams,
        form,
        nowMs: clock(),
        csrf: csrfField(session),
        signal: gone.signal,
      })
    } catch (cause) {
      audit('failed')
      if (!(cause instanceof PortcullisError)) throw cause
      const { message, remedy } = cause
      const body = html`<p>${message}.</p>
        <p>${remedy}</p>`
      return sendPage(visit, 503, { title: 'Not possible at this moment', body })
    } finally {
      const left = (running.get(session.handle) ?? 1) - 1
      if (left > 0) running.set(session.handle, left)
      else running.delete(session.handle)
    }
    if (answer.kind === 'redirect') {
      audit('done', answer.target)
      if (answer.notice !== undefined) sessions.leaveNotice(session, answer.notice)
      return sendRedirect(response, answer.to)
    }
    audit('refused')
    switch (answer.kind) {
      case 'page':
        return sendPage(visit, answer.status ?? 200, answer)
      case 'text': {
        const name = answer.fileName?.replaceAll(/[^\w.-]/g, '_')
        const more = name === undefined ? {} : { 'content-disposition': `attachment; filename="${name}"` }
        return sendText(response, 200, `${answer.contentType}; charset=utf-8`, answer.text, more)
      }
      case 'stream':
        return streams.open(session, response, answer.follow, () => isStillAllowed(visit, match))
    }
  }

  /** A stream outlives many changes: whoever may no longer open the page does not follow it either. */
  const isStillAllowed = ({ session, isOpen }: Visit, match: Match): boolean => {
    const operator = access.operator(session.operator)
    return (
      sessions.isLive(session) &&
      isOpen() &&
      operator !== undefined &&
      operator.createdMs === session.operatorCreatedMs &&
      objection(operator, match) === null
    )
  }

  const change = async (visit: Visit, match: Match | undefined): Promise<void> => {
    const { request, response, session, url } = visit
    const limit = match?.route.method === 'POST' ? match.route.maxFormBytes : undefined
    const read = await readForm(request, limit ?? MAX_FORM_BYTES)
    if (!read.ok) return sendText(response, read.status, TEXT, 'a form of the dashboard is needed here\n')
    if (!hasToken(read.form.get('csrf'), session)) {
      return refuse(visit, 'token', {
        title: 'Not done',
        body: html`<p>
          This form belongs to a session that has ended. Go back, load the page again and repeat it.
        </p>`,
      })
    }
    if (url.pathname === '/logout') return logOut(visit)
    if (url.pathname === '/theme') return setTheme(visit, read.form)
    if (match === undefined) return sendPage(visit, 404, notFound(url.pathname))
    if (match.route.method === 'POST' && match.route.asksPassword === true) {
      const { name } = visit.operator
      const check = await access.checkOperator(name, read.form.get('password') ?? '', session.address)
      if (!check.ok) return refuse(visit, 'password', wrongPasswordPage(refusalText(check)))
      read.form.delete('password')
    }
    return runRoute(visit, match, read.form)
  }

  const answer: DashboardHandler['answer'] = async (request, response, way) => {
    const { method = '' } = request
    const url = urlOf(request)
    if (url === undefined) return sendText(response, 400, TEXT, 'the target is not a path\n')
    const isOwn =
      way === undefined
        ? isOwnHost(request.headers.host, parts.names())
        : isNamed(request.headers.host, way.host)
    if (!isOwn) {
      return sendText(
        response,
        421,
        TEXT,
        'The dashboard does not answer to this name. Use its address, or list the name under dashboard.names in the policy.\n',
      )
    }
    if (request.headers['transfer-encoding'] !== undefined) {
      // No browser sends a form without its length.
      response.shouldKeepAlive = false
      return sendText(response, 411, TEXT, 'a length is needed\n')
    }
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST')
      return sendText(response, 405, TEXT, 'only GET, HEAD and POST\n', { allow: 'GET, HEAD, POST' })
    if (method !== 'POST' && url.pathname.startsWith(ASSET_PREFIX)) return sendAsset(url, assets, response)
    const visiting = visitor(request)
    const isOpen = way?.isOpen ?? (() => true)
    const visit = visiting === undefined ? undefined : { request, response, url, isOpen, ...visiting }
    if (method === 'POST' && !isOwnOrigin(request.headers)) {
      const page = {
        title: 'Not done',
        body: html`<p>This came from another web page. Nothing has changed.</p>`,
      }
      if (visit !== undefined) return refuse(visit, 'origin', page)
      return sendText(response, 403, TEXT, 'this came from another web page; nothing has changed\n')
    }
    if (url.pathname === '/login') {
      if (method === 'POST') return logIn(request, response, way?.address ?? addressOf(request))
      const next = ownPath(url.searchParams.get('next'))
      if (visit !== undefined) return sendRedirect(response, next)
      return showLogin(request, response, 200, next, null)
    }
    if (visit === undefined) {
      const next = method === 'POST' ? '/' : `${url.pathname}${url.search}`
      return sendRedirect(response, next === '/' ? '/login' : `/login?next=${encodeURIComponent(next)}`)
    }
    const match = router.find(method === 'POST' ? 'POST' : 'GET', url.pathname)
    const against = match === undefined ? null : objection(visit.operator, match)
    if (against !== null) return refuse(visit, against, refusedPage(visit.operator, against))
    if (method === 'POST') return change(visit, match)
    if (match === undefined) return sendPage(visit, 404, notFound(url.pathname))
    return runRoute(visit, match, new URLSearchParams())
  }

  return {
    answer,
    close: () => {
      stopListening()
      streams.close()
      sessions.endAll('shutdown')
    },
  }
}

function urlOf(request: IncomingMessage): URL | undefined {
  const base = 'https://dashboard.invalid'
  const target = request.url ?? '/'
  if (target.length > 8_192 || !target.startsWith('/') || target.startsWith('//')) return undefined
  return URL.canParse(target, base) ? new URL(target, base) : undefined
}

function sendAsset(url: URL, assets: Assets, response: ServerResponse): void {
  const asset = assets.get(url.pathname.slice(ASSET_PREFIX.length))
  if (asset === undefined) return sendText(response, 404, TEXT, 'there is no such file\n')
  const isCurrent = `${url.pathname}${url.search}` === asset.url
  sendText(
    response,
    200,
    asset.contentType,
    asset.bytes,
    isCurrent ? { 'cache-control': KEPT_FOR_A_YEAR } : {},
  )
}

function addressOf(request: IncomingMessage): string {
  const text = request.socket.remoteAddress ?? ''
  return parseAddress(text)?.text ?? 'unknown'
}

function themeOf(request: IncomingMessage): Theme {
  const given = readCookie(request.headers.cookie, THEME_COOKIE)
  return THEMES.find(theme => theme === given) ?? 'auto'
}

function csrfField(session: Session) {
  return html`<input type="hidden" name="csrf" value="${session.csrfToken}" />`
}
