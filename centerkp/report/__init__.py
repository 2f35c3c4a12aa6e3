"""Results as pages that open in any browser, and as text on the terminal.

What the doctor found or what was measured goes in; one self-contained HTML file comes out.
"""
