import type { ReactNode } from "react"

/** Its name, its classes, and whether the name is there to be heard only. */
export type Column = readonly [name: string, className?: string, heard?: "heard"]

/** Rows below the names of their columns. */
export function Table({ columns, children }: { readonly columns: readonly Column[]; readonly children: ReactNode }): ReactNode {
  return (
    <table>
      <thead>
        <tr>
          {columns.map(([name, className, heard]) => (
            <th key={name} className={className}>
              {heard === undefined ? name : <span className="off-screen">{name}</span>}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  )
}
