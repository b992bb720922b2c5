/** Begins the dashboard. */
import { mount } from "svelte"
import "./app.css"
import App from "./App.svelte"
import { router } from "./router.svelte.ts"
import { matching } from "./routes.ts"

// The code of the page comes while the shell is made. Where it doesn't, the shell says so.
matching(router.path)?.route.load().catch(() => {})
const target = document.getElementById("app")
if (target !== null) mount(App, { target })
