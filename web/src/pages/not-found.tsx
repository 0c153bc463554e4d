export function NotFound() {
  return (
    <section class="page empty">
      <h1>There is no such page</h1>
      <p>
        The <a href="/">list of runs</a> shows everything that was submitted.
      </p>
    </section>
  );
}
