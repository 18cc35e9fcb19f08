// Who may attach and log in: gateway keys of clients, accounts of operators, and the questions that are asked of them.

/** What an operator may do. Each role may do everything that the roles before it may. */
export type Role = 'viewer' | 'support' | 'admin'

/** Roles, weakest first. */
export const ROLES: readonly Role[] = ['viewer', 'support', 'admin']

/** A person who may log in: to the dashboard, and from another machine to clients. */
export type Operator = {
  readonly name: string
  readonly role: Role
  /** Sites that this operator sees; null: all of them, and what belongs to no site. */
  readonly sites: readonly string[] | null
  /** Names of the gateway keys whose clients this operator reaches; null: all of them. */
  readonly keys: readonly string[] | null
  readonly createdMs: number
}

/** A gateway key, as far as it may be shown: the key itself is stored hashed. */
export type GatewayKey = {
  readonly name: string
  /** Clients that may be attached with it at once; null: as many as the gate carries. */
  readonly maxClients: number | null
  readonly createdMs: number
}

/** Whether a key is good. `busy`: too many attempts are being checked. `held`: this address has failed too often. */
export type KeyCheck =
  | { readonly ok: true; readonly key: GatewayKey }
  | {
      readonly ok: false
      readonly why: 'no-keys' | 'unknown' | 'held' | 'busy'
      readonly retryAfterMs: number | null
    }

/** Whether name and password are good. An unknown name takes as long as a wrong password. */
export type OperatorCheck =
  | { readonly ok: true; readonly operator: Operator }
  | { readonly ok: false; readonly why: 'unknown' | 'held' | 'busy'; readonly retryAfterMs: number | null }

/** What changed when the file of keys and operators was read again. */
export type AccessChange = {
  readonly keysAdded: readonly string[]
  readonly keysRemoved: readonly string[]
  readonly operatorsChanged: readonly string[]
  readonly operatorsRemoved: readonly string[]
}

/**
 * Keys and operators, kept in one file of the state directory, hashed with argon2id. The file may be changed while the
 * gate runs; `reload` takes it up without touching anybody who is not concerned.
 */
export type Access = {
  readonly keys: () => readonly GatewayKey[]
  readonly operators: () => readonly Operator[]
  readonly operator: (name: string) => Operator | undefined
  /** @param source canonical address of whoever tries */
  readonly checkKey: (key: string, source: string) => Promise<KeyCheck>
  readonly checkOperator: (name: string, password: string, source: string) => Promise<OperatorCheck>
  readonly reload: () => Promise<AccessChange>
  /** Called after a reload that changed something. Returns the remover. */
  readonly onChange: (listener: (change: AccessChange) => void) => () => void
}
