// The frame around every page: head, navigation, who is logged in, notices.
import { ROLES, type Operator, type Role } from '../../access/access.ts'
import { assetUrl, type Assets } from './assets.ts'
import { html, type Content, type Html } from './html.ts'
import { NAVIGATION_GROUPS, type Page, type PageRoute } from './page.ts'

/** Light, dark, or what the system says. */
export type Theme = 'auto' | 'light' | 'dark'

/** Themes in the order in which the switch goes through them. */
export const THEMES: readonly Theme[] = ['auto', 'light', 'dark']

/** What the frame needs to know. */
export type Frame = {
  readonly assets: Assets
  readonly routes: readonly PageRoute[]
  readonly version: string
  readonly operator: Operator
  readonly theme: Theme
  /** Path and query of this page. */
  readonly here: string
  readonly csrf: Html
  readonly notice: string | null
}

/** Whether an operator may open a route. */
function mayOpen(operator: Operator, route: Pick<PageRoute, 'role' | 'reach'>): boolean {
  return hasRole(operator, route.role) && (route.reach === 'sites' || !isLimited(operator))
}

/** Whether the operator's role includes another one. */
export function hasRole(operator: Operator, role: Role): boolean {
  return ROLES.indexOf(operator.role) >= ROLES.indexOf(role)
}

/** Whether the operator is limited to sites or keys. */
export function isLimited(operator: Operator): boolean {
  return operator.sites !== null || operator.keys !== null
}

/** A whole document with navigation. */
export function framed(page: Omit<Page, 'kind'>, frame: Frame): Html {
  const { operator, theme, here, csrf, notice } = frame
  const navigation = navigationOf(frame)
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? 'auto'
  const refresh = page.refreshSeconds === undefined ? null : Math.max(2, page.refreshSeconds)
  return document(
    page.title,
    frame,
    html`
      <a class="skip" href="#main">Skip to content</a>
      <header class="top">
        <a class="brand" href="/"
          ><img src="${assetUrl(frame.assets, 'icon.svg')}" alt="" width="24" height="24" />Portcullis</a
        >
        <div class="tools">
          ${refresh === null ? null : html`<button type="button" class="quiet" id="pause" hidden>Pause updates</button>`}
          <form method="post" action="/theme">
            ${csrf}<input type="hidden" name="next" value="${here}" /><button
              class="quiet"
              name="theme"
              value="${next}"
            >
              Theme: ${theme}
            </button>
          </form>
          <a class="who" href="/account">${operator.name} <span class="dim">${operator.role}</span></a>
          <form method="post" action="/logout">${csrf}<button class="quiet">Log out</button></form>
        </div>
      </header>
      <details class="menu">
        <summary>Menu</summary>
        <nav aria-label="Menu">${navigation}</nav>
      </details>
      <div class="columns">
        <nav class="side" aria-label="Pages">${navigation}</nav>
        <main id="main" tabindex="-1" ${refresh === null ? null : html`data-refresh="${refresh}"`}>
          <h1>${page.title}</h1>
          ${notice === null ? null : html`<p class="notice" role="status">${notice}</p>`} ${page.body}
        </main>
      </div>
      <footer><span>Portcullis ${frame.version}</span><span>All times are UTC.</span></footer>
    `,
    ['dashboard.js', ...(page.modules ?? [])],
  )
}

/** A whole document without navigation: the login. */
export function bare(title: string, body: Content, frame: Pick<Frame, 'assets' | 'theme'>): Html {
  return document(title, frame, html`<main id="main" class="alone">${body}</main>`, [])
}

function document(
  title: string,
  { assets, theme }: Pick<Frame, 'assets' | 'theme'>,
  body: Html,
  modules: readonly string[],
): Html {
  return html`<!doctype html>
    <html lang="en" data-theme="${theme}">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="${theme === 'auto' ? 'light dark' : theme}" />
        <title>${title} · Portcullis</title>
        <link rel="icon" href="${assetUrl(assets, 'icon.svg')}" type="image/svg+xml" />
        <link rel="stylesheet" href="${assetUrl(assets, 'dashboard.css')}" />
        <link rel="stylesheet" href="${assetUrl(assets, 'pages.css')}" />
        ${modules.map(name => html`<script type="module" src="${assetUrl(assets, name)}"></script>`)}
      </head>
      <body>
        ${body}
      </body>
    </html>`
}

function navigationOf({ routes, operator, here }: Frame): Html {
  const path = here.split('?')[0] ?? ''
  const groups = NAVIGATION_GROUPS.map(group => ({
    group,
    entries: routes.flatMap(route =>
      route.method === 'GET' && route.navigation?.group === group && mayOpen(operator, route)
        ? [{ label: route.navigation.label, path: route.path }]
        : [],
    ),
  }))
  return html`${groups
    .filter(({ entries }) => entries.length > 0)
    .map(
      ({ group, entries }) =>
        html`<p class="group">${group}</p>
          <ul>
            ${entries.map(entry => {
              const current = entry.path === path ? 'page' : isBelow(path, entry.path) ? 'true' : 'false'
              return html`<li><a href="${entry.path}" aria-current="${current}">${entry.label}</a></li>`
            })}
          </ul>`,
    )}`
}

function isBelow(path: string, entry: string): boolean {
  return entry !== '/' && path.startsWith(`${entry}/`)
}
