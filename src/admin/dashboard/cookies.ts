// Cookies of the dashboard: read strictly, written with everything that keeps them at this one host.

/** The session of an operator. `__Host-` binds it to this host: no other name of the domain can set or read it. */
export const SESSION_COOKIE = '__Host-portcullis'
/** Light, dark, or what the system says. */
export const THEME_COOKIE = '__Host-portcullis-theme'

/** The value of a cookie; undefined when there is none, or more than one of that name. */
export function readCookie(header: string | undefined, name: string): string | undefined {
  const found = (header ?? '')
    .split(';')
    .map(pair => pair.trim())
    .filter(pair => pair.startsWith(`${name}=`))
    .map(pair => pair.slice(name.length + 1))
  return found.length === 1 ? found[0] : undefined
}

/** A cookie until the browser closes. `value` must be made of letters, digits, `-` and `_`. */
export function setCookie(name: string, value: string, maxAgeSeconds?: number): string {
  const age = maxAgeSeconds === undefined ? '' : `; Max-Age=${maxAgeSeconds}`
  return `${name}=${value}; Path=/; Secure; HttpOnly; SameSite=Strict${age}`
}

/** Takes a cookie away. */
export function clearCookie(name: string): string {
  return setCookie(name, '', 0)
}
