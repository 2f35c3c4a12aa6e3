"""Results as pages that open in any browser, and as text on the terminal.

What the doctor found, what was measured, or what a training run tells of itself goes in; one self-contained HTML file comes
out.
"""
