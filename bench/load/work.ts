// The requests that every peer has to carry: what an RMM agent sends, the same bytes to each.

/** Path of the agent's smallest request. */
export const CHECK_IN_PATH = '/LabTech/Agent.aspx'
/** Path of the large file. */
export const DOWNLOAD_PATH = '/LabTech/Transfer/package.bin'
export const DOWNLOAD_BYTES = 128 * 1024 * 1024
/** Path on which the upstream accepts a WebSocket: an agent's. */
export const WEBSOCKET_PATH = '/LabTech/Agent.aspx/channel'
/** What the upstream answers to a check-in. */
export const CHECK_IN_RESPONSE = '||||||220.105'
export const USER_AGENT = 'LTAgent/220.105 (Windows NT 10.0)'
export const FORM_TYPE = 'application/x-www-form-urlencoded'

const FIELDS = 32

/** A check-in form of about 2 KiB; every field changes with `turn`, so that no peer can remember a body. */
export function checkInForm(turn: number): string {
  const fields: string[] = []
  for (let field = 0; field < FIELDS; field++) fields.push(`field${field}=${formValue(turn, field)}`)
  return fields.join('&')
}

/** The same form as a Lua function body for wrk. */
export function checkInFormLua(): string {
  return `
local turn = math.floor((os.time() % 100000) * 1000)
local parts = {}
local function form()
  turn = turn + 1
  for field = 0, ${FIELDS - 1} do
    parts[field + 1] = string.format("field%d=computer-%010d-%010d-value+of+counter+%05d", field, turn, turn * 7 + field, (turn + field) % 65536)
  end
  return table.concat(parts, "&")
end`
}

function formValue(turn: number, field: number): string {
  const pad = (value: number, width: number) => String(value).padStart(width, '0')
  return `computer-${pad(turn, 10)}-${pad(turn * 7 + field, 10)}-value+of+counter+${pad((turn + field) % 65_536, 5)}`
}
