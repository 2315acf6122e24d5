"""A corpus of awkward answers with signed-off truth: one pair per line, the sides parted by ` | `.

`SAME` pairs are mathematically equal (or equal by a convention that `normal_form` states); `DIFFERENT` pairs are near
misses that must never be called equal. Each pair is tested in both directions.
"""

SAME = r"""
7 | 7.0
+7 | 7
007 | 7
-3 | −3
.5 | 0.5
1/2 | \tfrac{1}{2}
-\frac{1}{2} | \frac{-1}{2}
-\frac{1}{2} | -0.5
\frac{2}{4} | \frac{1}{2}
\frac 1 2 | 0.5
3\frac{1}{4} | 3.25
3 1/4 | 13/4
-1\frac{1}{2} | -1.5
1{,}000 | 1000
1,234,567 | 1234567
10\,000 | 10000
1 000 | 1000
6.02 \times 10^{23} | 6.02e23
2.5 \cdot 10^{-3} | 0.0025
10^{-2} | 0.01
0.\overline{3} | \frac{1}{3}
0.1\overline{6} | \frac16
50\% | \frac{1}{2}
50\% | 50
12.5\% | 0.125
50 percent | 50\%
\$18 | 18
\$18.00 | 18
18 dollars | \$18
$42$ | 42
\(42\) | 42
42. | 42
5 cm | 5\text{ cm}
3 m | 3\text{ m}
2.5 m^2 | 2.5\text{ m}^2
5\,\mathrm{cm} | 5 cm
5\text{ cm}^2 | 5 \text{ cm}^{2}
60^\circ | 60
60° | 60^{\circ}
60 degrees | 60^\circ
12\text{ m} | 12 \text{ meters}
15 \text{ mph} | 15
3 hours | 3
x = 5 | 5
x=5 | x = 5
n = \frac{1}{2} | 0.5
f(x) = x^2 + 1 | x^2+1
\sqrt{12} | 2\sqrt{3}
\sqrt{12} | 2 \sqrt 3
\frac{\sqrt{2}}{2} | \frac{1}{\sqrt{2}}
\frac{1+\sqrt{5}}{2} | \frac{\sqrt5+1}{2}
\sqrt[3]{8} | 2
2^{1/2} | \sqrt{2}
8^{\frac{1}{3}} | 2
2\pi | 2π
\frac{\pi}{2} | 0.5\pi
\pi/4 | \frac{\pi}{4}
x/12 | \frac{x}{12}
x/\sqrt{2} | \frac{x\sqrt{2}}{2}
1/\sin x | \frac{1}{\sin x}
x/2 \cdot y | \frac{xy}{2}
n(n+1)/2 | \frac{n^2+n}{2}
pi/4 | \frac{\pi}{4}
e^2 | \mathrm{e}^2
\ln 4 | 2\ln 2
\log_{10} 100 | 2
3! | 6
\binom{6}{3} | 20
2^{10} | 1024
(x+1)^2 | x^2+2x+1
x(x-1) | x^2-x
\frac{x^2-1}{x-1} | x+1
a^2-b^2 | (a-b)(a+b)
2x+3y | 3y+2x
\sin 2x | 2\sin x\cos x
\{1,2,3\} | \{3,2,1\}
\left\{1, 2\right\} | \{1,2\}
1, 2 | 2, 1
1,2 | \{1,2\}
\{\frac12, 2\} | \{2, 0.5\}
x=1,\ x=-2 | x=-2, x=1
x = 1 or x = -2 | -2, 1
x=1\text{ or }x=-2 | x=-2 \text{ or } x=1
\pm 3 | -3, 3
x = \pm 3 | x=3, x=-3
1\pm\sqrt{2} | 1-\sqrt{2}, 1+\sqrt{2}
(1, 2) | \left(1,2\right)
(1, 2) | (1.0, \frac{4}{2})
(\frac{1}{2}, \sqrt{4}) | (0.5, 2)
(x, y) = (1, 2) | (1,2)
[0, 1) | \left[0,1\right)
(-\infty, 3] | (-∞, 3]
(0,1)\cup(2,3) | (2,3)\cup(0,1)
x > 3 | (3, \infty)
x > 3 | 3 < x
1 < x \leq 2 | (1, 2]
x \geq 2 | x \ge 2
-1 \le x | [-1, \infty)
x < \frac12 | (-\infty, 0.5)
(-\infty,2)\cup(2,\infty) | x \ne 2
x \in (1, 2] | 1 < x \le 2
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix} \frac12 \\ 1 \end{pmatrix} | \begin{pmatrix} 0.5 \\ 1.0 \end{pmatrix}
A | (A)
A | \text{A}
B | \textbf{B}
B | \mathrm{(B)}
\text{Yes} | yes
No | NO
\text{odd} | odd
\text{Monday} | monday
no solution | No Solution.
\text{no solution} | no  solution
无解 | \text{无解}
１２ | 12
12个 | 12
12 厘米 | 12厘米
３，４ | 3,4
½ | 0.5
x² + 1 | x^2+1
√2 | \sqrt{2}
3×4 | 12
2·3 | 6
1101_2 | 13
\emptyset | \varnothing
\{\} | ∅
3+4i | 4i+3
(1+i)^2 | 2i
i^2 | -1
5x = 10 | 10 = 5x
y = 2x + 1 | 2x - y + 1 = 0
|x| | \left|x\right|
\lfloor 2.5 \rfloor | 2
\boxed{5} | 5
3 million | 3,000,000
2 dozen | 24
2 hundred | 200
\frac{3}{4}\text{ cup} | 0.75
2\sqrt{3}\text{ cm} | \sqrt{12} \text{ cm}
1:2 | 1:2
12:30 | 12:30
\overline{AB} | \overline{AB}
\text{(i) and (ii)} | (i) and (ii)
7 \pmod{10} | 7\pmod{10}
\angle ABC = 60^\circ | \angle ABC=60°
\text{5} | 5
\text{2, 3} | 3,2
(1, 2) \text{ and } (3, 4) | (3,4), (1,2)
\cos 60^\circ | \frac12
e^{i\pi} | -1
\{x \mid x > 3\} | \{x \mid x > 3\}
-\infty | -∞
\mathbb{R} | (-\infty, \infty)
-0 | 0
-0.0 | +0
\frac{0}{5} | 0
\frac12 | \dfrac{1}{2}
1,000, 2,000 | 2000, 1000
(1,000, 2,000) | (1000, 2000)
1,234, 5,678 | 5678, 1234
\sqrt{2+\sqrt{3}} | \frac{\sqrt6+\sqrt2}{2}
\{1,000; 2,000\} | \{1000, 2000\}
(1,000) | 1000
(1,234) | (1, 234)
0.1+0.2 | 0.3
10**3 | 1000
1.0 \times 10^3 | 1000
\sqrt[3]{-8} | -2
2\sqrt[3]{-8} | -4
\sqrt[3]{-2} | -\sqrt[3]{2}
16^{3/4} | 8
\frac{1}{\sqrt{2}+1} | \sqrt2-1
\log_2 3 | \frac{\ln 3}{\ln 2}
\sum_{k=1}^{3} k | 6
\sum_{k=1}^{n} k | \frac{n(n+1)}{2}
\prod_{k=1}^{4} k | 24
\lim_{x\to 0} \frac{\sin x}{x} | 1
\int_0^1 x dx | \frac12
\binom{5}{2} | {5 \choose 2}
2\frac{x}{3} | \frac{2x}{3}
0.(3) | \frac13
0.\dot{3} | \frac13
(101)_2 | 101_{(2)}
1A_{16} | 26
5\text{ cm} | 50\text{ mm}
1.5 \text{ hours} | 90\text{ minutes}
5 min | 5 minutes
1 ft | 12 inches
2\text{ m}^2 | 20000\text{ cm}^2
\$0.50 | 50 cents
50¢ | 50 cents
3\text{ kg} | 3000\text{ g}
B) | B
Option B | (B)
\text{Answer: B} | B
Yes. | \text{yes}
three | 3
三 | 3
3:00 PM | 3:00\text{ p.m.}
3:00 PM | 15:00
12:05 am | 0:05
03:00 | 3:00
1 : 2 | 1:2
x \equiv 1 \pmod{3} | 1 \pmod 3
x \equiv 4 \pmod{3} | x\equiv 1 \pmod{3}
1 (\bmod 3) | 1 \pmod{3}
\pm 1, \pm 2 | 2, -2, 1, -1
\{\pm 1\} | \{1, -1\}
x=1, y=2 | y=2, x=1
x=1, y=2 | (x, y) = (1, 2)
x=1, y=2 | (1, 2)
x=1, y=2 | 1, 2
(y, x) = (2, 1) | x=1, y=2
x = y | y = x
f^{-1}(x) = 2x | 2x
f'(x) = 2x | 2x
\frac{dy}{dx} = 2x | 2x
\frac{dy}{dx} | \frac{dy}{dx}
0<x | x>0
1<x<2 | (1,2)
a<b | b>a
x > \pi | (\pi, \infty)
1 < x < \sqrt{12} | (1, 2\sqrt{3})
\langle 1,2\rangle | (1,2)
3\mathbf{i}+2\mathbf{j} | 2\mathbf{j} + 3\mathbf{i}
\begin{vmatrix}1&2\\3&4\end{vmatrix} | -2
\textcolor{red}{5} | 5
\underline{5} | 5
\fbox{\boxed{5}} | 5
\large 5 | 5
5 \tag{1} | 5
٣ | 3
१२ | 12
𝟓 | 5
𝑥+1 | x+1
1e3 | 1000
""" + ("\u200e5\u200f | 5\n1\u200b2 | 12\n2\u2062x | 2x\n5\x00 | 5\n")

DIFFERENT = r"""
1/3 | 0.3333
2/3 | 0.67
\pi | 3.14
\pi | \frac{22}{7}
\sqrt{2} | 1.414
0.1 | 0.01
1000 | 1,001
12 | 21
-5 | 5
\frac{1}{2} | \frac{1}{3}
\frac{1}{2} | 2
2\frac{1}{2} | 1
2\frac{1}{2} | \frac{2}{2}
10^{3} | 10^{-3}
6e23 | 6e22
50\% | 5
50\% | 0.05
5\text{ cm} | 5\text{ kg}
3 m | 3\text{ kg}
3 m | 4\text{ m}
3 m | 3\text{ m}^2
5\text{ cm} | 5\text{ cm}^2
5 apples | 5 oranges
3 million | 3 billion
3 million | 3
x = 5 | y = 5
x=5 | x=6
x = 5 | x = -5
\sqrt{12} | 3\sqrt{2}
\sqrt{3} | 3
\frac{\pi}{2} | \frac{2}{\pi}
2^{10} | 10^{2}
2^{10} | 210
x^2+1 | x^2-1
x^2 | x^3
x+y | x-y
x+1 | y+1
(x+1)^2 | x^2+1
\{1,2\} | \{1,3\}
\{1,2\} | \{1,2,3\}
\{1,2\} | (1,2)
1,2 | 1,3
1,2 | 12
1,1 | 1
1, 1 | 1, 2
\pm 3 | 3
(1,2) | (2,1)
(1,2) | [1,2]
(1,2] | [1,2)
(1,2) | (1,2,3)
x > 3 | x \ge 3
x > 3 | x < 3
x>3 | 3
x \le 3 | [3, \infty)
x > 3 | y > 3
1 < x \le 2 | 1 \le x < 2
(0,1)\cup(2,3) | (0,3)
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} | (1,2)
A | B
A | a
\text{Yes} | \text{No}
\text{odd} | \text{even}
no solution | one solution
无解 | 有解
无解 | 解无
12个 | 13个
12元 | 12个
1101_2 | 1101
1101_2 | 1101_3
\emptyset | 0
\emptyset | \{0\}
3+4i | 3-4i
i | 1
5x = 10 | 5x = 11
5x=10 | 10
y = 2x+1 | y=2x
1:2 | 1/2
1:2 | 2:1
12:30 | 12:31
12{:}30\text{ pm} | 12{:}30\text{ am}
N | n
AB | ab
x' | x
f(x) | f(y)
5! | 5
5^{th} | 5
\lfloor 2.5 \rfloor | 3
10 | 10_2
3.14159 | 3.1416
0.99999 | 1
0.\overline{9}8 | 1
100000000000000000001 | 100000000000000000000
10^{100}+1 | 10^{100}
\frac{10^{30}+1}{10^{30}} | 1
e^{-100} | e^{-101}
\sin 1 | \sin 1.0001
no solution for x>3 | 3
the answer is 5 | 6
\text{none} | 0
7 \pmod{10} | 7 \pmod{9}
\log_2 8 | \log_3 8
x_1 | x_2
\overline{AB} | \overline{CD}
\vec{a} | a
1e5 | 15
1,2,3 | 123
3, 4 | 3.4
\$5 | €5
x^2 = -1 | x^2 = -2
0 | x = 1
\infty | -\infty
\infty | 10^{100}
5\% | 5 kg
2 \text{ or } 3 | 2
5 squared | 5
5 cm | 5 \text{ m}
0 | 1e-400
1,000, 2,000 | 1, 0, 2, 0
1,234, 5 | 1, 234, 5
(1,000) | (1, 0)
(1,234) | 1234
1/3 | 0.33333333333333333333
\sqrt2 | 1.4142135623730951
\pi | 3.141592653589793
\ln 2 | 0.6931471805599453
\log_2 3 | 1.584962500721156
e^{\pi\sqrt{163}} | 262537412640768744
0.5 | 0.50000000000000000001
\frac{1}{3}+10^{-30} | \frac{1}{3}
-2\frac12 | -1.5
-2^2 | 4
\sqrt[3]{-8} | 2
1/2x | \frac{1}{2x}
1/2x | \frac{x}{2}
1/x^2y | \frac{1}{x^2y}
1/(2a)b | \frac{b}{2a}
1/2+2\frac12x | \frac12+x
\frac{1}{2}3 | \frac32
(x)2 | 2x
1/2\sqrt{3} | \frac{1}{2\sqrt3}
2\frac{1}{2}x | x
x2 | 2x
x2 | x^2
2 1 | 21
|2 3| | |23|
180^\circ | \pi
5\text{ cm} | 5\text{ mm}
5\text{ cm} | 50\text{ m}
2\text{ m}^2 | 200\text{ cm}^2
5\text{ kg} | 5000\text{ m}
50 cents | \$50
three | 4
Option B | C
3:00 PM | 3:00 AM
3:00 | 3:00 PM
12:30 | 12.5
3:4 | \frac34
2024-01-05 | 2018
x \equiv 1 \pmod{3} | x \equiv 1 \pmod{4}
x \equiv 1 \pmod{3} | x \equiv 2 \pmod{3}
x \equiv 1 \pmod{3} | y \equiv 1 \pmod{3}
x \equiv 1 \pmod{3} | x = 1
x=1, y=2 | 2, 1
x=1, y=2 | (2, 1)
x=1, y=2 | x=2, y=1
x=1, y=2 | \{1, 2\}
(x, y) = (1, 2) | (y, x) = (1, 2)
y = \pm 3 | x=3, x=-3
x = y | x = z
x = y | x = -y
A^T | A
A^c | A
A \times B | B \times A
\vec{a}\times\vec{b} | \vec{b}\times\vec{a}
\mathbf{a}\times\mathbf{b} | \mathbf{b}\times\mathbf{a}
3\mathbf{i}+2\mathbf{j} | 3\mathbf{i}+2\mathbf{k}
\frac{dy}{dx} | \frac{y}{x}
\frac{d}{dx}x^2 | x
a<b | a>b
0<x | 0 \le x
1<x<2 | 1<x \le 2
f^{-1}(x) = 2x | f(x) = 2x
((1,2),3) | (1,(2,3))
(1,2),(3,4) | (1,2,3,4)
\{(1,2)\} | (1,2)
5\tag{1} | 51
\phantom{1}5 | 15
. | ,
+ | -
|x| | x
\sqrt{x^2} | x
x^2 + C | x^2 + c
\ln x^2 | 2\ln x
\begin{pmatrix}1\\2\end{pmatrix} | \begin{pmatrix}1&2\end{pmatrix}
yes | yes and no
""" + ("\u202e12 | 21\n\u202e12 | 12\n")


def pairs(lines: str) -> list[tuple[str, str]]:
    return [tuple(line.split(" | ")) for line in lines.strip().splitlines()]
