/* The primes below a thousand, as one wrote C before 1989: no prototypes, functions without a type, arguments declared below. */

#define TOP 1000

char crossed[TOP];

cross(n)
register n;
{
	register i;

	for (i = n + n; i < TOP; i += n)
		crossed[i]++;
}

sum(v, n)
char *v;
{
	int i, s;

	s = 0;
	for (i = 2; i < n; i++)
		if (!v[i])
			s += i;
	return s;
}

main()
{
	int n;

	for (n = 2; n * n < TOP; n++)
		if (!crossed[n])
			cross(n);
	printf("%d\n", sum(crossed, TOP));
	exit(0);
}
