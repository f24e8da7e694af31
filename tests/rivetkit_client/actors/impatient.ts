// Actions that may take a fifth of a second.
import { actor } from "rivetkit";

export default actor({
  options: { actionTimeout: 200 },
  actions: {
    slow: (_c, ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms)),
  },
});
